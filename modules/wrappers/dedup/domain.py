"""A domain: within it equal chunks are stored once. Its parameters and keys never change.

The domain's row lies in the index, and a copy of it in the trailer of every pack, so that the
index can be made again from packs alone. The id key is not wrapped by anything: who can read the
index can confirm guesses about what is stored, but not read what is encrypted below.
"""

from __future__ import annotations

import hmac
import secrets
import struct
from dataclasses import dataclass
from typing import Final

from blake3 import blake3

from modules.errors import ConfigurationError, IntegrityError

KIB: Final = 1024
MIB: Final = 1024 * KIB
CHUNKER: Final = 1
"""``fastcdc2020/nc2``: FastCDC 2020, normalized chunking 2."""

ID_BYTES: Final = 32
UID_BYTES: Final = 16
MAC_BYTES: Final = 16
MAX_SEED: Final = (1 << 63) - 1
AVERAGES: Final = (64 * KIB, 256 * KIB, 1024 * KIB)

_RECORD: Final = struct.Struct(">16s32sBBIIIQIH")


@dataclass(frozen=True, slots=True)
class Domain:
    """What decides how objects are cut and named.

    Attributes:
        id: random, 16 bytes; in every module_data.
        id_key: random, 32 bytes; chunk ids are made with it.
        key_domain: the volume's, which the index is bound to.
        min_bytes, average_bytes, max_bytes: of a chunk.
        pack_bytes: a pack is full when its payload reaches this.
        is_compressed: whether chunks are compressed with zstd where that gains something.
    """

    id: bytes
    id_key: bytes
    key_domain: str
    min_bytes: int
    average_bytes: int
    max_bytes: int
    seed: int
    pack_bytes: int
    is_compressed: bool

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

    def to_bytes(self) -> bytes:
        """Return the record that index and trailers hold."""
        name = self.key_domain.encode("utf-8", "surrogatepass")
        head = _RECORD.pack(
            self.id,
            self.id_key,
            CHUNKER,
            self.is_compressed,
            self.min_bytes,
            self.average_bytes,
            self.max_bytes,
            self.seed,
            self.pack_bytes,
            len(name),
        )
        return head + name

    @classmethod
    def from_bytes(cls, data: bytes, *, subject: str) -> Domain:
        """Return the domain of a record.

        Raises:
            IntegrityError: it is none, or its numbers cannot be.
        """
        try:
            fields = _RECORD.unpack_from(data)
            name = data[_RECORD.size :].decode("utf-8", "surrogatepass")
        except (struct.error, UnicodeDecodeError) as error:
            raise _damaged("the domain's record is damaged", subject) from error
        id_, id_key, chunker, codec, low, average, high, seed, pack_bytes, size = fields
        if chunker != CHUNKER or codec > 1 or not 0 < low <= average <= high <= 16 * MIB:
            raise _damaged("the domain's record has parameters that are unknown", subject)
        if len(data) != _RECORD.size + size or seed > MAX_SEED:
            raise _damaged("the domain's record is damaged", subject)
        return cls(id_, id_key, name, low, average, high, seed, pack_bytes, bool(codec))

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
