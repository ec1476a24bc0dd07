"""What a property's name and value may be, checked before any command."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final

from modules.errors import InvalidArgument

MAX_PROPERTY_NAME: Final = 255
MAX_VALUE_BYTES: Final = 8191

_NATIVE: Final = re.compile(r"[a-z][a-z0-9_-]*")
_USER: Final = re.compile(r"(?!-)[a-z0-9:+._-]*:[a-z0-9:+._-]*")
_SPACE: Final = re.compile(  # userquota@bob, userused@1000, written@snap, feature@lz4_compress
    r"(?:(?:user|group|project)(?:obj)?(?:quota|used)|written|feature)[@#][A-Za-z0-9_.:@+ \\-]+"
)
_CONTROL: Final = re.compile("[\0-\x1f\x7f]")


def check_property_name(name: str) -> str:
    """Return *name* when it can name a native, user or per-user property.

    Raises:
        InvalidArgument: it cannot.

    Source: zfsprops(7), "User Properties"; OpenZFS, module/zcommon/zfs_prop.c (zfs_prop_user).
    """
    valid = (
        isinstance(name, str)
        and len(name) <= MAX_PROPERTY_NAME
        and any(pattern.fullmatch(name) for pattern in (_NATIVE, _USER, _SPACE))
    )
    if not valid:
        raise InvalidArgument(
            "it is no valid name of a property",
            field="property",
            operation="use property",
            subject=f"{name!r:.300}",
            hint='a user property has a ":" and lower-case letters, digits and + . _ - only',
        )
    return name


def check_property_names(names: Iterable[str]) -> None:
    """Make sure that every one of *names* can name a property."""
    for name in names:
        check_property_name(name)


def check_properties(properties: Mapping[str, str]) -> None:
    """Make sure that names and values can be given to ZFS and read back from its output.

    A value is text of up to 8,191 bytes without control characters: a tab or a newline would
    break the lines of ``zfs list -H``. The value itself is for ZFS to judge.

    Raises:
        InvalidArgument: one cannot; ``field`` names the property.
    """
    for name, value in properties.items():
        check_property_name(name)
        if (problem := _problem(value)) is not None:
            raise InvalidArgument(
                problem, field=name, operation="set property", subject=f"{name}={value!r:.100}"
            )


def _problem(value: str) -> str | None:
    if not isinstance(value, str):
        return "its value must be text"
    if _CONTROL.search(value):
        return "its value holds a control character"
    try:
        size = len(value.encode())
    except UnicodeEncodeError:
        return "its value is not valid Unicode text"
    return f"its value is longer than {MAX_VALUE_BYTES} bytes" if size > MAX_VALUE_BYTES else None
