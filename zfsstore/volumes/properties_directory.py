"""Properties of volumes that are directories: a quota, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from modules.errors import NotSupported
from modules.volume_properties import EncryptionKey
from zfsstore import layout
from zfsstore.volumes.common import check_size
from zfsstore.volumes.directory_base import Found
from zfsstore.volumes.properties import check_chosen, parse_size

_HINT = "keep the tenant in a module on ZFS (dataset=)"


def planned_size(
    size_bytes: int | None,
    properties: Mapping[str, str] | None,
    encryption: EncryptionKey | None,
) -> int | None:
    """Return the quota of a new volume.

    Raises:
        InvalidArgument: the size or a property is wrong.
        NotSupported: something else than a quota was asked for.
    """
    check_size(size_bytes)
    if encryption is not None:
        raise NotSupported(
            "a plain directory cannot be encrypted", capability="encryption", hint=_HINT
        )
    chosen = chosen_quota(properties)
    return parse_size(chosen) if chosen is not None else size_bytes


def chosen_quota(properties: Mapping[str, str] | None) -> str | None:
    """Return the quota among *properties*, None when it is not there.

    Raises:
        InvalidArgument: a property is wrong.
        NotSupported: there are others.
    """
    chosen = check_chosen(properties)
    quota = chosen.pop("quota", None)
    if chosen:
        raise NotSupported(
            f"a plain directory has no {next(iter(chosen))}",
            capability="properties",
            operation="set property",
            hint=_HINT,
        )
    return quota


def without_quota(found: Found) -> Found:
    """Take a volume's quota away, and return the volume."""
    freed = replace(found, record=replace(found.record, size_bytes=None))
    layout.write_volume_file(found.path, freed.record)
    return freed
