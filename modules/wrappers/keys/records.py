"""What the parts of the key levels hand each other."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final, Protocol

KEY_BYTES: Final = 32
ID_BYTES: Final = 16


class KeyState(StrEnum):
    """What a tenant key is good for."""

    ACTIVE = "active"  # new objects; at most one in a domain
    DECRYPT_ONLY = "decrypt-only"
    DESTROYED = "destroyed"  # a tombstone: the key itself is gone


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """A row of the key table. Holds no key that can be used without the root key.

    Attributes:
        id: random, 16 bytes; what objects name in their header.
        key_domain: whose it is: a volume and its clones.
        version: counts up from 1 in each domain.
        root: which root key wrapped it; "" for a destroyed one.
        wrapped: the key, wrapped; empty for a destroyed one.
        created_at, destroyed_at: aware times; None when not destroyed.
    """

    id: bytes
    key_domain: str
    version: int
    state: KeyState
    root: str
    wrapped: bytes = field(repr=False)
    created_at: datetime
    destroyed_at: datetime | None = None

    @property
    def binding(self) -> bytes:
        """What a wrapped key is bound to, so that rows cannot be exchanged."""
        return key_binding(self.id, self.key_domain, self.version)


def key_binding(key_id: bytes, key_domain: str, version: int) -> bytes:
    """Return what the wrapping of a tenant key is bound to."""
    domain = key_domain.encode("utf-8", "surrogatepass")
    return b"osf/e1/tk\0" + key_id + version.to_bytes(4, "big") + domain


@dataclass(frozen=True, slots=True)
class TenantKey:
    """A key in the clear, in memory. Never printed."""

    id: bytes
    key: bytes = field(repr=False)


class RootKeys(Protocol):
    """Where the root keys are: wraps with the newest, unwraps with any."""

    def current(self) -> str:
        """Return the id of the root key that wraps new keys."""

    def wrap(self, key: bytes, binding: bytes) -> tuple[str, bytes]:
        """Wrap a key; return the id of the root key that did, and the wrapped key.

        Raises:
            modules.errors.Unavailable, modules.errors.PermissionDenied
        """

    def unwrap(self, root: str, wrapped: bytes, binding: bytes) -> bytes:
        """Return the key that ``wrap`` was given.

        Raises:
            modules.errors.KeyNotFound: this provider has no root key of that id.
            modules.errors.WrongKey: it has, but that does not open this.
            modules.errors.Unavailable, modules.errors.PermissionDenied
        """

    def forget(self) -> None:
        """Drop what is kept in memory."""
