"""A domain: within it equal chunks are stored once. Its parameters and keys never change.

The domain's row lies in the index, and a copy of it in the trailer of every pack, so that the
index can be made again from packs alone. Who has the id key and can read the index can confirm
guesses about what is stored, but not read what is encrypted below. Where tenant keys are
configured the id key is wrapped by them (modules.wrappers.dedup.idkeys).
"""

from __future__ import annotations

import hmac
import secrets
import struct
from dataclasses import dataclass, field
from typing import Final

from blake3 import blake3

from modules.errors import ConfigurationError, IntegrityError, KeyDestroyed

KIB: Final = 1024
MIB: Final = 1024 * KIB
CHUNKER: Final = 1
"""``fastcdc2020/nc2``: FastCDC 2020, normalized chunking 2."""

ID_BYTES: Final = 32
UID_BYTES: Final = 16
MAC_BYTES: Final = 16
MAX_SEED: Final = (1 << 63) - 1
AVERAGES: Final = (64 * KIB, 256 * KIB, 1024 * KIB)

_RECORD: Final = struct.Struct(">16sBBBIIIQIH")
_WRAP: Final = struct.Struct(">16s24s48s")


@dataclass(frozen=True, slots=True)
class Wrap:
    """An id key, wrapped by the tenant key of this id."""

    key_id: bytes
    salt: bytes
    wrapped: bytes


@dataclass(frozen=True, slots=True)
class Domain:
    """What decides how objects are cut and named.

    Attributes:
        id: random, 16 bytes; in every module_data.
        plain_key: see ``id_key``; empty while it is locked.
        key_domain: the volume's, which the index is bound to.
        min_bytes, average_bytes, max_bytes: of a chunk.
        pack_bytes: a pack is full when its payload reaches this.
        is_compressed: whether chunks are compressed with zstd where that gains something.
        wrap: the id key wrapped, where it is; only that is ever stored then.
    """

    id: bytes
    plain_key: bytes = field(repr=False)
    key_domain: str
    min_bytes: int
    average_bytes: int
    max_bytes: int
    seed: int
    pack_bytes: int
    is_compressed: bool
    wrap: Wrap | None = field(default=None, compare=False)

    @classmethod
    def make(
        cls,
        key_domain: str,
        *,
        average_bytes: int = AVERAGES[0],
        pack_bytes: int = 16 * MIB,
        is_compressed: bool = True,
    ) -> Domain:
        """Return a new domain with random keys."""
        return cls(
            secrets.token_bytes(UID_BYTES),
            secrets.token_bytes(ID_BYTES),
            key_domain,
            average_bytes // 4,
            average_bytes,
            average_bytes * 4,
            secrets.randbelow(MAX_SEED + 1),
            pack_bytes,
            is_compressed,
        )

    @property
    def id_key(self) -> bytes:
        """Random, 32 bytes; chunk ids are made with it.

        Raises:
            KeyDestroyed: it is wrapped by a tenant key that was destroyed.
        """
        if not self.plain_key:
            raise KeyDestroyed(
                "the key of its ids was destroyed: what was stored is unreadable for good",
                operation="use deduplicated store",
                subject=self.id.hex(),
            )
        return self.plain_key

    @property
    def is_locked(self) -> bool:
        """True while the id key is known only wrapped."""
        return not self.plain_key

    @property
    def binding(self) -> bytes:
        """What a wrapped id key is bound to: all of the record before it."""
        name = self.key_domain.encode("utf-8", "surrogatepass")
        head = _RECORD.pack(
            self.id,
            CHUNKER,
            self.is_compressed,
            self.wrap is not None,
            self.min_bytes,
            self.average_bytes,
            self.max_bytes,
            self.seed,
            self.pack_bytes,
            len(name),
        )
        return head + name

    def to_bytes(self) -> bytes:
        """Return the record that index and trailers hold."""
        if self.wrap is None:
            return self.binding + self.id_key
        return self.binding + _WRAP.pack(self.wrap.key_id, self.wrap.salt, self.wrap.wrapped)

    @classmethod
    def from_bytes(cls, data: bytes, *, subject: str) -> Domain:
        """Return the domain of a record; it is locked when its id key is wrapped.

        Raises:
            IntegrityError: it is none, or its numbers cannot be.
        """
        try:
            fields = _RECORD.unpack_from(data)
            id_, chunker, codec, is_wrapped, low, average, high, seed, pack_bytes, size = fields
            end = _RECORD.size + size
            name = data[_RECORD.size : end].decode("utf-8", "surrogatepass")
            key, wrap = data[end:], None
            if is_wrapped:
                key, wrap = b"", Wrap(*_WRAP.unpack(key))
        except (struct.error, UnicodeDecodeError) as error:
            raise _damaged("the domain's record is damaged", subject) from error
        if chunker != CHUNKER or codec > 1 or not 0 < low <= average <= high <= 16 * MIB:
            raise _damaged("the domain's record has parameters that are unknown", subject)
        if len(key) != (0 if is_wrapped else ID_BYTES) or is_wrapped > 1 or seed > MAX_SEED:
            raise _damaged("the domain's record is damaged", subject)
        return cls(id_, key, name, low, average, high, seed, pack_bytes, bool(codec), wrap)

    @property
    def node_key(self) -> bytes:
        """The key of recipe nodes' ids: no content that somebody stores is ever taken for one."""
        return self._derived("osf/d1 recipe node id")

    def mac(self, uid: bytes, root: bytes, length: int) -> bytes:
        """Return what proves that a root belongs to this object of this domain."""
        message = b"".join((self.id, uid, root, length.to_bytes(8, "big")))
        return blake3(message, key=self._derived("osf/d1 module data")).digest(MAC_BYTES)

    def check_mac(self, mac: bytes, uid: bytes, root: bytes, length: int) -> bool:
        """Return whether :meth:`mac` gives *mac*."""
        return hmac.compare_digest(mac, self.mac(uid, root, length))

    def _derived(self, purpose: str) -> bytes:
        return blake3(self.id_key, derive_key_context=purpose).digest()


def check_parameters(average_bytes: object, pack_bytes: object, codec: object) -> None:
    """Refuse what no new domain can have.

    Raises:
        ConfigurationError
    """
    if type(average_bytes) is not int or average_bytes not in AVERAGES:
        known = ", ".join(map(str, AVERAGES))
        raise ConfigurationError(f"must be one of {known}", field="average_bytes")
    if type(pack_bytes) is not int or not MIB <= pack_bytes <= 64 * MIB:
        raise ConfigurationError(f"must be {MIB} to {64 * MIB}", field="pack_bytes")
    if codec not in ("zstd", "none"):
        raise ConfigurationError("must be zstd or none", field="codec")


def _damaged(reason: str, subject: str) -> IntegrityError:
    return IntegrityError(reason, operation="open deduplicated store", subject=subject)
