"""Delegated permissions: ``zfs allow`` and ``zfs unallow``, and what each command needs.

Source: zfs-allow(8).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

_NEEDED: Final = {
    "create": "create,mount",
    "destroy": "destroy,mount",
    "snapshot": "snapshot",
    "clone": "clone,create,mount",
    "promote": "promote,mount",
    "rename": "rename,create,mount",
    "rollback": "rollback,mount",
    "hold": "hold",
    "release": "release",
    "holds": "hold",
    "bookmark": "bookmark",
    "diff": "diff",
    "send": "send",
    "receive": "receive,create,mount",
    "mount": "mount",
    "unmount": "mount",
    "share": "share",
    "unshare": "share",
    "load-key": "load-key",
    "unload-key": "load-key",
    "change-key": "change-key",
    "allow": "allow",
    "unallow": "allow",
}


def needed_permissions(argv: Sequence[str]) -> str:
    """Return the permissions that the command *argv* needs, as ``zfs allow`` takes them."""
    verb = argv[1] if len(argv) > 1 else ""
    needed = [part for part in _NEEDED.get(verb, "").split(",") if part]
    needed += [_permission_of(name) for name in _set_properties(argv)]
    return ",".join(dict.fromkeys(needed)) or "create,mount,rename,userprop"


def _set_properties(argv: Sequence[str]) -> list[str]:
    verb = argv[1] if len(argv) > 1 else ""
    if verb == "set":
        return [part.partition("=")[0] for part in argv[2:-1] if "=" in part]
    if verb == "inherit":
        return [argv[-2]]
    return [
        value.partition("=")[0]
        for option, value in pairwise(argv)
        if option == "-o" and "=" in value
    ]


def _permission_of(name: str) -> str:
    return "userprop" if ":" in name else name.partition("@")[0]
