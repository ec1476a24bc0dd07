"""Delegated permissions: ``zfs allow`` and ``zfs unallow``, and what each command needs.

Source: zfs-allow(8).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, Literal

from modules.errors import InvalidArgument
from zfsstore.zfs.snapshot_commands import flags, not_understood

WhoKind = Literal["user", "group", "everyone", "create", "set"]
Scope = Literal["both", "local", "descendent"]

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
_PERMISSION: Final = re.compile(r"@?[a-z][a-z0-9_-]*")
_WHO: Final = re.compile(r"[A-Za-z0-9_.][A-Za-z0-9_.@$-]*")
_HEAD: Final = re.compile(r"---- Permissions on (.+?) -*")
_SECTIONS: Final[dict[str, tuple[WhoKind | None, Scope]]] = {
    "Permission sets:": ("set", "both"),
    "Create time permissions:": ("create", "both"),
    "Local permissions:": (None, "local"),
    "Descendent permissions:": (None, "descendent"),
    "Local+Descendent permissions:": (None, "both"),
}


@dataclass(frozen=True, slots=True)
class Delegation:
    """What somebody may do to a dataset (local), to those below it (descendent), or to both.

    ``kind`` "everyone" has no name; "create" is whoever creates a dataset below, on that; "set"
    is a named set of permissions, "@name", to be given to others.
    """

    permissions: tuple[str, ...]
    kind: WhoKind = "user"
    name: str = ""
    scope: Scope = "both"


def allow_argv(dataset: str, delegation: Delegation, *, revoke: bool = False) -> list[str]:
    """Return the command that gives, or takes, permissions: to run, or to print for root.

    Raises:
        InvalidArgument: a name or a permission cannot be one.
    """
    check_delegation(delegation)
    permissions = ",".join(delegation.permissions)
    scope = flags(l=delegation.scope == "local", d=delegation.scope == "descendent")
    who = {
        "user": ["-u", delegation.name, permissions],
        "group": ["-g", delegation.name, permissions],
        "everyone": ["-e", permissions],
        "create": ["-c", permissions],
        "set": ["-s", delegation.name, permissions],
    }[delegation.kind]
    return ["zfs", "unallow" if revoke else "allow", *scope, *who, dataset]


def list_argv(dataset: str) -> list[str]:
    """Return the command that prints who may do what to *dataset*."""
    return ["zfs", "allow", dataset]


def check_delegation(delegation: Delegation) -> None:
    """Make sure that nothing in it is an option or a second argument.

    Raises:
        InvalidArgument: something is.
    """
    for permission in delegation.permissions or ("",):
        if _PERMISSION.fullmatch(permission) is None:
            raise InvalidArgument(f"{permission!r:.60} is no permission", field="permissions")
    if delegation.kind in ("everyone", "create"):
        valid = delegation.name == ""
    elif delegation.kind == "set":
        valid = re.fullmatch(r"@[A-Za-z0-9_.:-]{1,62}", delegation.name) is not None
    else:
        valid = _WHO.fullmatch(delegation.name) is not None
    if not valid:
        raise InvalidArgument(
            f"{delegation.name!r:.60} is no name of a {delegation.kind}", field="name"
        )


def parse_allow(stdout: str, *, argv: Sequence[str] = ()) -> dict[str, list[Delegation]]:
    """Return who may do what to a dataset, and to each above it, the nearest first.

    Raises:
        CommandFailed: it is not understood.
    """
    found: dict[str, list[Delegation]] = {}
    entries: list[Delegation] | None = None
    section: tuple[WhoKind | None, Scope] | None = None
    for line in filter(None, stdout.split("\n")):
        if (head := _HEAD.fullmatch(line)) is not None:
            entries, section = found.setdefault(head[1], []), None
        elif line in _SECTIONS:
            section = _SECTIONS[line]
        elif line.startswith("\t") and entries is not None and section is not None:
            entries.append(_entry(line, section, argv))
        else:
            raise not_understood(line, argv)
    return found


def needed_permissions(argv: Sequence[str]) -> str:
    """Return the permissions that the command *argv* needs, as ``zfs allow`` takes them.

    "" for what cannot be delegated: all that zpool does.
    """
    if argv[:1] != ["zfs"] and argv[:1] != ("zfs",):
        return ""
    verb = argv[1] if len(argv) > 1 else ""
    needed = [part for part in _NEEDED.get(verb, "").split(",") if part]
    needed += [_permission_of(name) for name in _set_properties(argv)]
    return ",".join(dict.fromkeys(needed))


def _entry(line: str, section: tuple[WhoKind | None, Scope], argv: Sequence[str]) -> Delegation:
    kind, scope = section
    match kind, line.split():
        case "create", [permissions]:
            name = ""
        case "set", [name, permissions]:
            pass
        case None, ["everyone", permissions]:
            kind, name = "everyone", ""
        case None, ["user" | "group" as kind, name, permissions]:
            pass
        case _:
            raise not_understood(line, argv)
    assert kind is not None
    return Delegation(tuple(permissions.split(",")), kind=kind, name=name, scope=scope)


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
