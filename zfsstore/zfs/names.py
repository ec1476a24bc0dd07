"""ZFS's own name rules, and how any UTF-8 name becomes one safe component.

A component holds ``a-z 0-9 . -`` as they are and every other byte of the UTF-8 name as ``_xx``
(lower-case hexadecimal), so it is valid in ZFS and in any file system, also one that ignores
case or normalises Unicode. A name whose component would be longer than 72 characters keeps its
first characters and ends in ``_h`` and a digest; its true name stands in the volume.
"""

from __future__ import annotations

import hashlib
import re
from typing import Final

from modules.errors import InvalidName

MAX_NAME_BYTES: Final = 255
"""Of one tenant or bucket name in UTF-8."""

MAX_COMPONENT: Final = 72
"""Characters of an encoded component. Two of them, a root of 40 and a snapshot name of 69 stay
within the 255 that ZFS allows for all of it; every plain S3 bucket name (63) fits unhashed."""

MAX_DATASET_NAME: Final = 255

_DIGEST_CHARACTERS: Final = 40
_HASH_MARK: Final = "_h"
_PLAIN: Final = frozenset(b"abcdefghijklmnopqrstuvwxyz0123456789.-")
_COMPONENT: Final = re.compile(r"(?:[a-z0-9.-]|_[0-9a-f]{2})+")
_DATASET: Final = re.compile(r"[A-Za-z][A-Za-z0-9_.:-]*(?:/[A-Za-z0-9_.:-]+)*")
_SHORT: Final = re.compile(r"[A-Za-z0-9_.: -]+")  # of a snapshot or bookmark: spaces, too
_POOL: Final = re.compile(r"(?!(?:mirror|raidz[123]?|draid[123]?|spare)$)[A-Za-z][A-Za-z0-9_.:-]*")


def encode_component(name: str) -> str:
    """Return the component for a tenant's or bucket's *name*: deterministic and injective.

    Raises:
        InvalidName: empty, too long, no valid UTF-8, or it holds "/" or NUL.
    """
    data = _checked(name)
    encoded = "".join(
        chr(byte) if byte in _PLAIN and (index or byte not in b".-") else f"_{byte:02x}"
        for index, byte in enumerate(data)
    )
    if len(encoded) <= MAX_COMPONENT:
        return encoded
    start = encoded[: MAX_COMPONENT - len(_HASH_MARK) - _DIGEST_CHARACTERS]
    start = re.sub(r"_[0-9a-f]?$", "", start)  # no half escape
    return start + _HASH_MARK + hashlib.sha256(data).hexdigest()[:_DIGEST_CHARACTERS]


def decode_component(component: str, stored_name: str | None = None) -> str | None:
    """Return the name that :func:`encode_component` turned into *component*.

    Args:
        stored_name: the name kept in the volume; believed only when it encodes to *component*.

    Returns:
        None when no name gives this component, or it is a hashed one without a stored name.
    """
    name = stored_name
    if _COMPONENT.fullmatch(component):
        raw = re.sub(r"_([0-9a-f]{2})", lambda match: chr(int(match[1], 16)), component).encode(
            "latin-1"
        )
        try:
            name = raw.decode()
        except UnicodeDecodeError:
            return None
    try:
        return name if name is not None and encode_component(name) == component else None
    except InvalidName:
        return None


def split_volume_name(name: str) -> tuple[str, ...]:
    """Return the parts of "acme" or "acme/photos", each a valid name.

    Raises:
        InvalidName: more than a tenant and a bucket, or an invalid part.
    """
    parts = tuple(name.split("/"))
    if len(parts) > 2:
        raise InvalidName(
            'a volume is named "TENANT" or "TENANT/BUCKET"',
            field="name",
            operation="use volume",
            subject=repr(name),
        )
    for part in parts:
        _checked(part)
    return parts


def check_dataset_name(dataset: str, *, field: str = "dataset") -> str:
    """Return *dataset* when it is a valid name of a ZFS file system.

    Raises:
        InvalidName: by the rules of zfs(8) for names; spaces are refused too.

    Source: OpenZFS, module/zcommon/zfs_namecheck.c.
    """
    valid = (
        isinstance(dataset, str)
        and len(dataset) <= MAX_DATASET_NAME
        and _DATASET.fullmatch(dataset) is not None
        and not any(part in (".", "..") for part in dataset.split("/"))
    )
    if not valid:
        raise InvalidName(
            "it is no valid dataset name",
            field=field,
            operation="use dataset",
            subject=repr(dataset),
            hint='write it as "pool/name", letters, digits and _ . : - only, up to 255 characters',
        )
    return dataset


def check_snapshot_name(snapshot: str, *, field: str = "snapshot") -> str:
    """Return *snapshot* when it is a valid full name, ``DATASET@NAME``.

    Raises:
        InvalidName: it is none.
    """
    return _check_pair(snapshot, "@", "snapshot", field)


def check_bookmark_name(bookmark: str, *, field: str = "bookmark") -> str:
    """Return *bookmark* when it is a valid full name, ``DATASET#NAME``.

    Raises:
        InvalidName: it is none.
    """
    return _check_pair(bookmark, "#", "bookmark", field)


def check_any_name(name: str, *, field: str = "dataset") -> str:
    """Return *name* when it is a valid name of a dataset, a snapshot or a bookmark.

    Raises:
        InvalidName: it is none.
    """
    if isinstance(name, str) and "@" in name:
        return check_snapshot_name(name, field=field)
    if isinstance(name, str) and "#" in name:
        return check_bookmark_name(name, field=field)
    return check_dataset_name(name, field=field)


def check_short_name(name: str, *, field: str = "name") -> str:
    """Return *name* when it can be what follows the "@" of a snapshot or "#" of a bookmark.

    Raises:
        InvalidName: it cannot.

    Source: OpenZFS, module/zcommon/zfs_namecheck.c (valid_char, entity_namecheck).
    """
    if not (isinstance(name, str) and _SHORT.fullmatch(name)) or name in (".", ".."):
        raise InvalidName(
            "it is no valid name of a snapshot or bookmark",
            field=field,
            operation="use name",
            subject=f"{name!r:.300}",
            hint="use letters, digits, spaces and _ . : - only",
        )
    return name


def check_pool_name(pool: str, *, field: str = "pool") -> str:
    """Return *pool* when it is a valid name of a pool.

    Raises:
        InvalidName: by the rules of zpool(8); spaces are refused, too.

    Source: OpenZFS, module/zcommon/zfs_namecheck.c (pool_namecheck).
    """
    valid = isinstance(pool, str) and len(pool) <= MAX_DATASET_NAME and _POOL.fullmatch(pool)
    if not valid:
        raise InvalidName(
            "it is no valid name of a pool",
            field=field,
            operation="use pool",
            subject=f"{pool!r:.300}",
            hint="begin with a letter, then letters, digits and _ . : - only",
        )
    return pool


def _check_pair(name: str, delimiter: str, kind: str, field: str) -> str:
    """Return *name* when it is a dataset, *delimiter* and a short name, not too long in all."""
    dataset, found, short = name.partition(delimiter) if isinstance(name, str) else ("", "", "")
    if not found or len(name) > MAX_DATASET_NAME:
        raise InvalidName(
            f"it is no valid name of a {kind}",
            field=field,
            operation=f"use {kind}",
            subject=f"{name!r:.300}",
            hint=f'write it as "pool/name{delimiter}{kind}", up to {MAX_DATASET_NAME} characters',
        )
    check_dataset_name(dataset, field=field)
    check_short_name(short, field=field)
    return name


def _checked(name: str) -> bytes:
    """Return *name* in UTF-8 when it can name a tenant or bucket."""
    try:
        data = name.encode()
    except UnicodeEncodeError:
        raise InvalidName(
            "it is not valid Unicode text", field="name", operation="use name", subject=repr(name)
        ) from None
    if not data or len(data) > MAX_NAME_BYTES or b"/" in data or b"\0" in data:
        raise InvalidName(
            f'a name has 1 to {MAX_NAME_BYTES} bytes and neither "/" nor NUL',
            field="name",
            operation="use name",
            subject=repr(name[:80]),
        )
    return data
