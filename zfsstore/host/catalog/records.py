"""The rows of the catalog, as the rest of the host sees them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Role(StrEnum):
    """What a user may do beside using the objects of the own tenant."""

    ADMINISTRATOR = "administrator"
    USER = "user"


@dataclass(frozen=True, slots=True)
class VendorModule:
    """A configured storage module.

    Attributes:
        name: what policies and wrappers call it.
        module: dotted name of its class, package.module.Class.
        label: for people.
        args: JSON object, the keyword arguments of its constructor; may hold secrets.
        python_path: folders, eggs or wheels it is imported from, absolute paths.
        code_digests: digest of the code in each entry of *python_path* when it was accepted.
    """

    name: str
    module: str
    label: str
    args: Mapping[str, Any] = field(repr=False)
    python_path: tuple[str, ...] = ()
    code_digests: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Tenant:
    """Who owns buckets: one namespace, one policy.

    Attributes:
        name: also the name of its volume.
        policy: name of the vendor module its data goes to.
        quota_bytes: of the tenant's volume, None for no quota.
    """

    name: str
    policy: str
    quota_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class User:
    """Who may log in, and to whose data.

    Attributes:
        password_hash: as argon2 writes it; never the password.
    """

    name: str
    tenant: str
    password_hash: str = field(repr=False)
    role: Role = Role.USER


def inner_names(args: Mapping[str, Any]) -> set[str]:
    """Return the modules that a wrapper's *args* name: what stands under ``inner``, at any depth.

    ``{"inner": "default"}``, ``{"inner": ["a", "b"]}`` and ``{"tiers": [{"inner": "a"}]}`` count.
    """
    found: set[str] = set()
    pending: list[tuple[Any, bool]] = [(args, False)]
    while pending:
        value, is_inner = pending.pop()
        if isinstance(value, str):
            if is_inner:
                found.add(value)
        elif isinstance(value, Mapping):
            pending += [(item, is_inner or key == "inner") for key, item in value.items()]
        elif isinstance(value, list | tuple):
            pending += [(item, is_inner) for item in value]
    return found
