"""What a new volume is to be like: quota, chosen properties, and its key."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from modules.errors import InvalidArgument
from modules.volume_properties import EncryptionKey
from zfsstore.volumes.common import check_size
from zfsstore.volumes.datasets import OBJECT_RECORDSIZE
from zfsstore.volumes.encryption import check_key, read_key
from zfsstore.volumes.properties import SMALLEST_QUOTA_BYTES, check_chosen, parse_size


@dataclass(frozen=True, slots=True)
class Wanted:
    """A volume that is to be created; everything in it is checked.

    Attributes:
        size_bytes: its quota, None for none.
        recordsize: for its objects.
        properties: further ones that were chosen.
        encryption: those that the creating command of an encrypted volume has besides.
        key: given to that command; None for a volume without a key of its own.
    """

    size_bytes: int | None
    recordsize: str
    properties: Mapping[str, str]
    encryption: Mapping[str, str] = field(default_factory=dict)
    key: bytes | None = field(default=None, repr=False)


def plan_creation(
    name: str,
    size_bytes: int | None = None,
    properties: Mapping[str, str] | None = None,
    encryption: EncryptionKey | None = None,
) -> Wanted:
    """Return what to create, with the key read.

    Raises:
        InvalidArgument: a size, property or key is wrong, or a bucket is to have its own key.
        KeyUnavailable: the key cannot be read.
    """
    chosen = check_chosen(properties)
    size_bytes = _quota(size_bytes, chosen.pop("quota", None))
    recordsize = chosen.pop("recordsize", OBJECT_RECORDSIZE)
    if encryption is None:
        return Wanted(size_bytes, recordsize, chosen)
    check_key(encryption)
    if "/" in name:
        raise InvalidArgument(
            "a bucket has no key of its own",
            field="encryption",
            operation="create volume",
            subject=name,
            hint="create the tenant with one: all its buckets are encrypted with it",
        )
    options = {"encryption": encryption.cipher, "keyformat": encryption.format}
    return Wanted(size_bytes, recordsize, chosen, options, read_key(encryption))


def _quota(size_bytes: int | None, quota: str | None) -> int | None:
    check_size(size_bytes, smallest_bytes=SMALLEST_QUOTA_BYTES)
    if quota is None:
        return size_bytes
    chosen = parse_size(quota)  # None for "none"
    if size_bytes is not None and size_bytes != chosen:
        raise InvalidArgument(
            f"size_bytes is {size_bytes}, and the property quota is {quota}",
            field="size_bytes",
            hint="give one of them",
        )
    return chosen
