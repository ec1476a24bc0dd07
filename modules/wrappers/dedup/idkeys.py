"""Id keys wrapped by tenant keys: who destroys a tenant's keys destroys its id keys with them.

    WK      = HKDF-Expand-SHA-512(tenant key, "osf/d1/id key" || 0 || salt || binding, 32)
    wrapped = AES-256-GCM(WK, nonce 0, id key, aad = binding)

WK is used once, so the nonce needs no counter. The binding is the domain's record before the key.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA512
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from modules.errors import WrongKey
from modules.wrappers.dedup.domain import Domain, Wrap
from modules.wrappers.keys import KeyRing, open_key_ring

_SALT_BYTES: Final = 24
_KEY_BYTES: Final = 32
_NONCE: Final = bytes(12)


class IdKeys:
    """Wraps and unwraps the id keys of domains.

    Args:
        keys: where tenant keys are; see :func:`modules.wrappers.keys.open_key_ring`.
    """

    def __init__(self, keys: Mapping[str, Any]) -> None:
        self.ring: KeyRing = open_key_ring(keys)
        self.ring.check()

    def wrapped(self, domain: Domain) -> Domain:
        """Return a domain that is not locked with its id key wrapped by the tenant's active key.

        Raises:
            KeyDestroyed: the tenant's keys were destroyed.
            StorageError: they cannot be had now.
        """
        key = self.ring.active(domain.key_domain)
        salt = secrets.token_bytes(_SALT_BYTES)
        domain = replace(domain, wrap=Wrap(key.id, salt, b""))
        sealed = _cipher(key.key, salt, domain).encrypt(_NONCE, domain.id_key, domain.binding)
        return replace(domain, wrap=Wrap(key.id, salt, sealed))

    def unlocked(self, domain: Domain) -> Domain:
        """Return a domain with its id key.

        Raises:
            KeyDestroyed: it was wrapped by a key that is destroyed.
            WrongKey: the record was altered, or is another tenant's.
            StorageError: the key cannot be had now.
        """
        wrap = domain.wrap
        if wrap is None:
            return domain
        key = self.ring.find(wrap.key_id, domain.key_domain)
        try:
            plain = _cipher(key.key, wrap.salt, domain).decrypt(
                _NONCE, wrap.wrapped, domain.binding
            )
        except InvalidTag:
            raise WrongKey(
                "its id key does not open with the tenant's key: its record was altered",
                operation="open deduplicated store",
                subject=domain.id.hex(),
                hint="restore its index from a snapshot or a replica",
            ) from None
        return replace(domain, plain_key=plain)

    def is_stale(self, domain: Domain) -> bool:
        """Tell whether the tenant's active key is another one than wraps the id key."""
        if domain.wrap is None or domain.is_locked:
            return False
        return self.ring.active(domain.key_domain).id != domain.wrap.key_id


def _cipher(tenant_key: bytes, salt: bytes, domain: Domain) -> AESGCM:
    info = b"osf/d1/id key\0" + salt + domain.binding
    return AESGCM(HKDFExpand(SHA512(), _KEY_BYTES, info).derive(tenant_key))
