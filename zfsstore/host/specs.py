"""What an administrator sends, checked strictly: unknown members, wrong types, bad names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final, Self

from modules.errors import InvalidArgument, InvalidName
from zfsstore.host.auth import MAX_PASSWORD_BYTES
from zfsstore.host.catalog import Role
from zfsstore.host.redaction import REDACTED, holds_redacted

MAX_NAME_BYTES: Final = 128
MIN_PASSWORD_CHARACTERS: Final = 8

# Printable, no "/" (it separates tenant and bucket), no ":" (it ends a user name in HTTP Basic).
_NAME: Final = re.compile(r"[^\x00-\x20\x7f-\x9f/:\\][^\x00-\x1f\x7f-\x9f/:\\]*")


class Keep(Enum):
    """Stands for a setting that stays as it is, where None means that there is none."""

    KEEP = "keep"


KEEP: Final = Keep.KEEP


def check_name(name: str, kind: str) -> str:
    """Return the name of a vendor module, tenant or user.

    Raises:
        InvalidName: empty, over-long, starting with a blank or a dot, or with a ``/``, ``:``,
            backslash or control character in it.
    """
    reason = None
    if not isinstance(name, str) or not name:
        reason = "it is empty"
    elif len(name.encode("utf-8", "replace")) > MAX_NAME_BYTES:
        reason = f"it is longer than {MAX_NAME_BYTES} bytes"
    elif name.startswith(".") or name != name.strip() or not _NAME.fullmatch(name):
        reason = "it starts with a dot, or holds a /, a :, a backslash or a control character"
    elif any("\ud800" <= character <= "\udfff" for character in name):
        reason = "it is no valid Unicode"
    if reason:
        raise InvalidName(reason, operation=f"name {kind}", subject=repr(name)[:80], field="name")
    return name


@dataclass(frozen=True, slots=True)
class ModuleSpec:
    """The body of a PUT to vendor_modules/NAME."""

    module: str
    label: str
    args: Mapping[str, Any]
    python_path: tuple[str, ...]

    @classmethod
    def from_dict(cls, value: object) -> Self:
        """Check a JSON value.

        Raises:
            InvalidArgument: with the member's name.
        """
        members = _members(value, ("module",), ("label", "args", "python_path"))
        args = members.get("args", {})
        if not isinstance(args, dict):
            raise _wrong("args", "must be a JSON object, the arguments of the constructor")
        if holds_redacted(args):
            raise _wrong("args", f"holds {REDACTED!r}", hint="write the secret itself")
        path = members.get("python_path", [])
        if not isinstance(path, list) or not all(isinstance(entry, str) for entry in path):
            raise _wrong("python_path", "must be a list of paths")
        label = _text(members, "label") if "label" in members else ""
        return cls(_text(members, "module"), label, args, tuple(path))


@dataclass(frozen=True, slots=True)
class TenantSpec:
    """The body of a PUT to tenants/NAME.

    Attributes:
        quota_bytes: null takes the quota away; it stays when left out.
        properties: of the tenant's volume, checked by whoever has it.
    """

    policy: str
    quota_bytes: int | Keep | None = KEEP
    properties: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def from_dict(cls, value: object) -> Self:
        """Check a JSON value.

        Raises:
            InvalidArgument: with the member's name.
        """
        members = _members(value, ("policy",), ("quota_bytes", "properties"))
        quota = check_quota(members["quota_bytes"]) if "quota_bytes" in members else KEEP
        properties = members.get("properties", {})
        if not isinstance(properties, dict) or not all(
            isinstance(text, str) for text in properties.values()
        ):
            raise _wrong("properties", "must be a JSON object of texts, as in zfs set")
        return cls(_text(members, "policy"), quota, properties)


@dataclass(frozen=True, slots=True)
class UserSpec:
    """The body of a PUT to users/NAME; None for what was not said."""

    policy: str | None
    tenant: str | None
    password: str | None
    role: str | None

    @classmethod
    def from_dict(cls, value: object) -> Self:
        """Check a JSON value.

        Raises:
            InvalidArgument: with the member's name.
        """
        members = _members(value, (), ("policy", "tenant", "password", "role"))
        return cls(
            **{
                name: _text(members, name) if members.get(name) is not None else None
                for name in ("policy", "tenant", "password", "role")
            }
        )


def check_quota(value: object) -> int | None:
    """Return a quota in bytes, or None.

    Raises:
        InvalidArgument: no positive whole number.
    """
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value < 2**63:
        raise _wrong("quota_bytes", "must be a whole number of bytes, above 0, or null")
    return value


def check_password(password: str) -> str:
    """Return a password that a user chose.

    Raises:
        InvalidArgument: too short or too long.
    """
    if len(password) < MIN_PASSWORD_CHARACTERS:
        raise _wrong("password", f"must have {MIN_PASSWORD_CHARACTERS} characters or more")
    if len(password.encode("utf-8", "replace")) > MAX_PASSWORD_BYTES or not password.isprintable():
        raise _wrong("password", f"must be printable and up to {MAX_PASSWORD_BYTES} bytes")
    return password


def check_role(role: str) -> Role:
    """Return a role.

    Raises:
        InvalidArgument: there is none of this name.
    """
    try:
        return Role(role)
    except ValueError:
        raise _wrong("role", f"must be one of {', '.join(Role)}, not {role!r}") from None


def _members(
    value: object, required: tuple[str, ...], optional: tuple[str, ...]
) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise InvalidArgument("the body must be a JSON object", field="body")
    known = (*required, *optional)
    for name in value:
        if name not in known:
            raise _wrong(str(name)[:80], "is unknown", hint=f"known are {', '.join(known)}")
    for name in required:
        if name not in value:
            raise _wrong(name, "is missing")
    return value


def _text(members: Mapping[str, Any], name: str) -> str:
    value = members[name]
    if not isinstance(value, str):
        raise _wrong(name, f"must be text, not {type(value).__name__}")
    if len(value) > 10_000 or "\0" in value:
        raise _wrong(name, "is too long or holds a NUL")
    if any("\ud800" <= character <= "\udfff" for character in value):
        raise _wrong(name, "is no valid Unicode", hint="write it in UTF-8")
    return value


def _wrong(field: str, reason: str, *, hint: str | None = None) -> InvalidArgument:
    return InvalidArgument(f"{field} {reason}", field=field, hint=hint)
