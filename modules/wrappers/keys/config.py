"""From the JSON argument ``keys`` to a key ring. No key is ever an argument itself."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final

from modules.errors import AlreadyExists, ConfigurationError
from modules.wrappers.keys.keyfile import create_key_file, read_key_file
from modules.wrappers.keys.local import (
    LocalRootKeys,
    read_command,
    read_variable,
)
from modules.wrappers.keys.records import RootKeys
from modules.wrappers.keys.ring import KeyRing
from modules.wrappers.keys.table import KeyTable

_TIMEOUT_S: Final = 10.0


def open_key_ring(keys: object) -> KeyRing:
    """Return the key ring that *keys* describes.

    Args:
        keys: ``{"table": PLACE, "root": {"provider": NAME, ...}, "former_roots": [...],
            "create": false}``; docs/encryption.md lists the providers. With ``create`` an absent
            table, and an absent key file, are made.

    Raises:
        ConfigurationError: a member is wrong; ``field`` names it, and no value is quoted.
    """
    members = _members(
        keys, "keys", required={"table", "root"}, optional=("former_roots", "create")
    )
    table = KeyTable(_text(members, "keys", "table"))
    root = root_keys(members["root"], field="keys.root")
    former = members.get("former_roots", [])
    if not isinstance(former, list):
        raise _wrong("must be a list", "keys.former_roots")
    others = [root_keys(value, field="keys.former_roots") for value in former]
    create = members.get("create", False)
    if not isinstance(create, bool):
        raise _wrong("must be true or false", "keys.create")
    if create:
        create_absent(table, members["root"])
    return KeyRing(table, root, *others)


def create_absent(table: KeyTable, root: Mapping[str, Any]) -> list[str]:
    """Make the table and the key file, where they are absent; return what was made."""
    made = []
    path = root.get("path")
    if root.get("provider") == "file" and isinstance(path, str) and not os.path.lexists(path):
        try:
            create_key_file(path)
            made.append(path)
        except AlreadyExists:  # another process was faster
            pass
    if not table.exists():
        try:
            table.create()
            made.append("key table")
        except AlreadyExists:
            pass
    return made


def root_keys(value: object, *, field: str) -> RootKeys:
    """Return the root keys that *value* describes.

    Raises:
        ConfigurationError: it is wrong.
    """
    provider = value.get("provider") if isinstance(value, Mapping) else None
    make = _PROVIDERS.get(provider) if isinstance(provider, str) else None
    if make is None:
        raise _wrong(f"must be one of {', '.join(_PROVIDERS)}", f"{field}.provider")
    return make(value, field)


def _file(value: object, field: str) -> RootKeys:
    members = _members(value, field, required={"provider", "path"})
    path = _text(members, field, "path")
    if not os.path.isabs(path):
        raise _wrong("must be an absolute path", f"{field}.path")
    return LocalRootKeys(f"key file {path}", partial(read_key_file, path))


def _environment(value: object, field: str) -> RootKeys:
    members = _members(value, field, required={"provider", "variable"})
    name = _text(members, field, "variable")
    return LocalRootKeys(f"environment variable {name}", partial(read_variable, name))


def _command(value: object, field: str) -> RootKeys:
    members = _members(value, field, required={"provider", "argv"}, optional=("timeout_s",))
    argv = members["argv"]
    if not isinstance(argv, list) or not argv or not all(isinstance(a, str) and a for a in argv):
        raise _wrong("must be a list of texts", f"{field}.argv")
    if not os.path.isabs(argv[0]):
        raise _wrong("must begin with an absolute path", f"{field}.argv")
    timeout_s = _timeout(members, field)
    return LocalRootKeys(f"command {argv[0]}", partial(read_command, argv, timeout_s))


def _kms(value: object, field: str) -> RootKeys:
    from modules.wrappers.keys.aws import kms_root_keys

    optional = ("region", "endpoint_url", "timeout_s")
    members = _members(value, field, required={"provider", "key_id"}, optional=optional)
    return kms_root_keys(
        _text(members, field, "key_id"),
        region=_optional_text(members, field, "region"),
        endpoint_url=_optional_text(members, field, "endpoint_url"),
        timeout_s=_timeout(members, field),
    )


def _vault(value: object, field: str) -> RootKeys:
    from modules.wrappers.keys.vault import VaultRootKeys

    members = _members(
        value,
        field,
        required={"provider", "address", "name"},
        optional=("mount", "token_file", "token_variable", "namespace", "ca_file", "timeout_s"),
    )
    return VaultRootKeys(
        _text(members, field, "address"),
        mount=_optional_text(members, field, "mount") or "transit",
        name=_text(members, field, "name"),
        token=_token(members, field),
        namespace=_optional_text(members, field, "namespace"),
        ca_file=_optional_text(members, field, "ca_file"),
        timeout_s=_timeout(members, field),
    )


def _token(members: Mapping[str, Any], field: str) -> Callable[[], str]:
    path = _optional_text(members, field, "token_file")
    variable = _optional_text(members, field, "token_variable")
    if path is not None:
        return lambda: read_key_file(path).strip()
    return lambda: read_variable(variable or "VAULT_TOKEN").strip()


_PROVIDERS: Final[Mapping[str, Callable[[object, str], RootKeys]]] = {
    "file": _file,
    "environment": _environment,
    "command": _command,
    "aws-kms": _kms,
    "vault-transit": _vault,
}


def _members(
    value: object, field: str, *, required: set[str], optional: Sequence[str] = ()
) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise _wrong("must be a JSON object", field)
    if missing := sorted(required - set(value)):
        raise _wrong(f"lacks {', '.join(missing)}", field)
    if set(value) - required - set(optional):
        known = ", ".join([*sorted(required), *optional])
        raise _wrong(f"has an unknown member; known are {known}", field)
    return value


def _text(members: Mapping[str, Any], field: str, name: str) -> str:
    value = members[name]
    if not isinstance(value, str) or not value or "\0" in value:
        raise _wrong("must be text", f"{field}.{name}")
    return value


def _optional_text(members: Mapping[str, Any], field: str, name: str) -> str | None:
    return None if members.get(name) is None else _text(members, field, name)


def _timeout(members: Mapping[str, Any], field: str) -> float:
    value = members.get("timeout_s", _TIMEOUT_S)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 600:
        raise _wrong("must be a number of seconds", f"{field}.timeout_s")
    return float(value)


def _wrong(reason: str, field: str) -> ConfigurationError:
    return ConfigurationError(reason, operation="use argument", subject=field, field=field)
