"""From a key to the names of its file in the published view, and back.

A key's components are directories and a file. What a file system cannot show as it is, is escaped:

| in the key                                  | in the view |
|---|---|
| an empty component (``a//b``, ``a/``)       | ``%00empty`` |
| ``.``, ``..``, ``.zfsstore``                | ``%2E``, ``%2E.``, ``%2Ezfsstore`` |
| a control character                         | ``%01`` to ``%1F``, ``%7F`` |
| ``%`` before two hexadecimal digits         | ``%25`` |
| a component of more than 255 bytes          | its start, ``%00``, 40 digits of its SHA-256 |
| an object ``a`` beside ``a/b``              | ``a%00object`` |
| a key of over 100 components or 3,000 bytes | ``%00long/`` and its SHA-256 |

No key holds a NUL, so ``%00`` stands for nothing that a key could hold; what a key has of the kind
itself has its percent sign escaped. So no two keys share a name, and a name without a hash tells
its key.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import Final

MAX_NAME_BYTES: Final = 255
MAX_DEPTH: Final = 100
MAX_PATH_BYTES: Final = 3000
"""Leaves the rest of PATH_MAX to wherever a client mounts it."""

OBJECT_MARK: Final = "%00object"
EMPTY: Final = "%00empty"
LONG: Final = "%00long"

_HASH_MARK: Final = "%00"
_HASH_DIGITS: Final = 40
_HASHED_START_BYTES: Final = MAX_NAME_BYTES - len(_HASH_MARK) - _HASH_DIGITS - len(OBJECT_MARK)
_RESERVED: Final = (".", "..", ".zfsstore")
_ESCAPED: Final = re.compile(r"%(?=[0-9A-Fa-f]{2})|[\x01-\x1f\x7f]")
_ESCAPE: Final = re.compile(r"%([0-7][0-9A-F])")


def object_path(key: str) -> tuple[str, ...]:
    """Return the names of the directories, and of the file, that show the object *key*."""
    names = tuple(_format_name(component) for component in key.split("/"))
    if _is_long(names):
        return (LONG, hashlib.sha256(key.encode()).hexdigest())
    return names


def container_path(key: str) -> tuple[str, ...] | None:
    """Return the names of the directories that show the container *key* (it ends in a slash).

    None when it is too long to be shown; objects in it are shown elsewhere, too.
    """
    names = tuple(_format_name(component) for component in key[:-1].split("/"))
    return None if _is_long(names) else names


def beside_directory(key: str) -> str:
    """Return the name of the object *key*'s file when keys lie below it: of its last component."""
    component = key.rsplit("/", 1)[-1]
    name = _format_name(component)
    if len(name.encode()) + len(OBJECT_MARK) > MAX_NAME_BYTES:
        name = _hashed(name, component)
    return name + OBJECT_MARK


def moved_name(name: str) -> str:
    """Return the name that a file in the view has beside a directory of its name."""
    component = parse_name(name)
    return name + OBJECT_MARK if component is None else beside_directory(component)


def parse_path(names: Sequence[str]) -> str | None:
    """Return the key whose object these names show, None when that cannot be told from them."""
    if not names:
        return None
    *above, last = names
    components = [parse_name(name) for name in (*above, last.removesuffix(OBJECT_MARK))]
    if any(component is None for component in components):
        return None
    key = "/".join(str(component) for component in components)
    is_ours = tuple(names) in (object_path(key), (*above, beside_directory(key)))
    return key if is_ours else None


def parse_name(name: str) -> str | None:
    """Return the component that a name shows, None when it is a hash or none of ours."""
    if name == EMPTY:
        return ""
    component = _ESCAPE.sub(lambda match: chr(int(match[1], 16)), name)
    return None if "\0" in component or _format_name(component) != name else component


def _format_name(component: str) -> str:
    if not component:
        return EMPTY
    if component in _RESERVED:
        return f"%2E{component[1:]}"
    name = _ESCAPED.sub(lambda match: f"%{ord(match[0]):02X}", component)
    return _hashed(name, component) if len(name.encode()) > MAX_NAME_BYTES else name


def _hashed(name: str, component: str) -> str:
    start = name.encode()[:_HASHED_START_BYTES].decode(errors="ignore")  # no half character
    return start + _HASH_MARK + hashlib.sha256(component.encode()).hexdigest()[:_HASH_DIGITS]


def _is_long(names: Sequence[str]) -> bool:
    size = sum(len(name.encode()) + 1 for name in names) + len(OBJECT_MARK)
    return len(names) > MAX_DEPTH or size > MAX_PATH_BYTES
