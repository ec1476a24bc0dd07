"""Format E1: the header, the keys of one object, and where its segments lie. docs/formats.md.

All integers are big-endian. Nothing here reads or writes.

Source: the C2SP chunked-encryption shape (counter nonces, HKDF-Expand with a commitment, a last
segment that is shorter than all others).
"""

from __future__ import annotations

import hmac
import re
import struct
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA512
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from modules.errors import IntegrityError, InvalidModuleData, NotSupported, WrongKey

MAGIC: Final = b"OSF-E1\r\n"
AES_256_GCM: Final = 1
CHACHA20_POLY1305: Final = 2
SUITES: Final = {"AES-256-GCM": AES_256_GCM, "ChaCha20-Poly1305": CHACHA20_POLY1305}
SEGMENT_BITS: Final = 16
SEGMENT_BYTES: Final = 1 << SEGMENT_BITS
TAG_BYTES: Final = 16
SEALED_BYTES: Final = SEGMENT_BYTES + TAG_BYTES
MAX_SEGMENTS: Final = 1 << 30
HEADER_BYTES: Final = 132
ID_BYTES: Final = 16
SALT_BYTES: Final = 24
KEY_BYTES: Final = 32

_WRAPPED_BYTES: Final = KEY_BYTES + TAG_BYTES
_PREFIX: Final = struct.Struct(">8sBBH")  # magic, suite, log2 of the segment size, header length
_AAD_BYTES: Final = 52
_ZERO_NONCE: Final = bytes(12)

Aead = AESGCM | ChaCha20Poly1305


@dataclass(frozen=True, slots=True)
class Header:
    """The first 132 bytes of an encrypted object."""

    suite: int
    key_id: bytes
    salt: bytes
    wrapped: bytes
    commitment: bytes

    def to_bytes(self) -> bytes:
        """Return the header as it is stored."""
        return wrap_aad(self.suite, self.key_id, self.salt) + self.wrapped + self.commitment

    @classmethod
    def from_bytes(cls, data: bytes, *, subject: str) -> Header:
        """Return the header in *data*, of which nothing is proven yet.

        Raises:
            IntegrityError: this is no E1 header, or a damaged one.
            NotSupported: it says that a newer format follows.
        """
        if len(data) != HEADER_BYTES or data[:8] != MAGIC:
            raise _damaged("it does not begin with an E1 header", subject)
        _, suite, bits, length = _PREFIX.unpack_from(data)
        if suite not in (AES_256_GCM, CHACHA20_POLY1305):
            raise NotSupported(
                f"its header names cipher suite {suite}: damaged, or from a newer version",
                capability="encryption suite",
                operation="decrypt object",
                subject=subject,
            )
        if (bits, length) != (SEGMENT_BITS, HEADER_BYTES):
            raise _damaged("its header names another segment or header size", subject)
        return cls(suite, data[12:28], data[28:52], data[52:100], data[100:132])


@dataclass(frozen=True, slots=True)
class Rewrap:
    """An object's key, wrapped anew by another tenant key; kept in the module_data."""

    key_id: bytes
    salt: bytes
    wrapped: bytes


@dataclass(frozen=True, slots=True)
class Body:
    """What encrypts and decrypts the segments of one object."""

    aead: Aead
    base: int
    commitment: bytes

    def nonce(self, number: int) -> bytes:
        """Return the nonce of a segment, which differs in each."""
        return (self.base ^ number).to_bytes(12, "big")


def context_of(key_domain: str, uid: str, suite: int) -> bytes:
    """Return ``ctx``, to which all keys of an object are bound: ids that never change."""
    domain, name = key_domain.encode("utf-8", "surrogatepass"), uid.encode()
    return b"".join(
        (
            b"osf/e1\0",
            len(domain).to_bytes(2, "big"),
            domain,
            len(name).to_bytes(2, "big"),
            name,
            bytes((suite, SEGMENT_BITS)),
        )
    )


def wrap_aad(suite: int, key_id: bytes, salt: bytes) -> bytes:
    """Return what a wrapped key is bound to: the header up to it."""
    return _PREFIX.pack(MAGIC, suite, SEGMENT_BITS, HEADER_BYTES) + key_id + salt


def wrap_key(tenant_key: bytes, object_key: bytes, aad: bytes, ctx: bytes) -> bytes:
    """Encrypt an object's key with a key that is used for nothing else, hence nonce 0."""
    return _wrapping(tenant_key, aad, ctx).encrypt(_ZERO_NONCE, object_key, aad)


def unwrap_key(tenant_key: bytes, wrapped: bytes, aad: bytes, ctx: bytes, *, subject: str) -> bytes:
    """Return the object's key.

    Raises:
        WrongKey: it was wrapped by another tenant key, or for another tenant or object, or its
            header was altered; no cipher can tell which.
    """
    try:
        return _wrapping(tenant_key, aad, ctx).decrypt(_ZERO_NONCE, wrapped, aad)
    except InvalidTag:
        raise _wrong_key(subject) from None


def body_of(object_key: bytes, salt: bytes, ctx: bytes, suite: int) -> Body:
    """Derive what encrypts an object's segments, and the commitment to its key."""
    info = b"osf/e1/body\0" + salt + ctx
    derived = HKDFExpand(SHA512(), 76, info).derive(object_key)
    aead = AESGCM(derived[:32]) if suite == AES_256_GCM else ChaCha20Poly1305(derived[:32])
    return Body(aead, int.from_bytes(derived[32:44], "big"), derived[44:])


def check_commitment(body: Body, header: Header, *, subject: str) -> None:
    """Prove that the header belongs to this key, before any segment is opened.

    Raises:
        WrongKey: it does not; so no object opens under two keys.
    """
    if not hmac.compare_digest(body.commitment, header.commitment):
        raise _wrong_key(subject)


def sealed_size(length: int) -> int:
    """Return how many bytes an object of *length* bytes has once encrypted."""
    return HEADER_BYTES + length + (length // SEGMENT_BYTES + 1) * TAG_BYTES


def open_length(size: int, *, subject: str) -> int:
    """Return how long the object of *size* encrypted bytes is; each size has at most one length.

    Raises:
        IntegrityError: no object has this size.
    """
    full, rest = divmod(size - HEADER_BYTES, SEALED_BYTES)
    if size < HEADER_BYTES + TAG_BYTES or rest < TAG_BYTES or full >= MAX_SEGMENTS:
        raise _damaged(f"no encrypted object has {size} bytes", subject)
    return full * SEGMENT_BYTES + rest - TAG_BYTES


@dataclass(frozen=True, slots=True)
class ModuleData:
    """The module_data of an encrypted object, in its parts."""

    uid: str
    length: int
    rewrap: Rewrap | None
    inner: str

    def __str__(self) -> str:
        rewrap = "-"
        if self.rewrap is not None:
            parts = (self.rewrap.key_id, self.rewrap.salt, self.rewrap.wrapped)
            rewrap = b"".join(parts).hex()
        return f"e1:{self.uid}:{self.length}:{rewrap}:{self.inner}"


_REWRAP_BYTES: Final = ID_BYTES + SALT_BYTES + _WRAPPED_BYTES
_MODULE_DATA: Final = re.compile(
    rf"e1:([0-9a-f]{{32}}):(0|[1-9][0-9]{{0,13}}):(-|[0-9a-f]{{{2 * _REWRAP_BYTES}}}):(.+)",
    re.ASCII | re.DOTALL,
)


def parse_module_data(module_data: str) -> ModuleData:
    """Return the parts of a module_data; the inner one is for the inner module to judge.

    Raises:
        InvalidModuleData: this module cannot have returned it.
    """
    match = _MODULE_DATA.fullmatch(module_data)
    if match is None:
        raise InvalidModuleData(
            "no encrypted object has this module_data",
            operation="find object",
            subject=repr(module_data[:80]),
        )
    rewrap = None
    if match[3] != "-":
        raw = bytes.fromhex(match[3])
        rewrap = Rewrap(raw[:ID_BYTES], raw[ID_BYTES:40], raw[40:])
    return ModuleData(match[1], int(match[2]), rewrap, match[4])


def _wrapping(tenant_key: bytes, aad: bytes, ctx: bytes) -> AESGCM:
    info = b"osf/e1/wrap" + aad[_AAD_BYTES - SALT_BYTES :] + ctx
    return AESGCM(HKDFExpand(SHA512(), KEY_BYTES, info).derive(tenant_key))


def _wrong_key(subject: str) -> WrongKey:
    return WrongKey(
        "its header does not open with the tenant's key: it belongs to another tenant or object, "
        "or was altered",
        operation="decrypt object",
        subject=subject,
        hint="restore it from a snapshot or a replica",
    )


def _damaged(reason: str, subject: str) -> IntegrityError:
    return IntegrityError(
        reason,
        operation="decrypt object",
        subject=subject,
        hint="restore it from a snapshot or a replica",
    )
