"""Format D1: module_data, packs, trailers. docs/formats.md. Integers are big-endian.

    pack    = blob* trailer length-of-trailer(4) "OSFP1\\r\\n\\0"

A blob is the payload of a chunk or of a recipe node, nothing else. The trailer is one zstd frame
and lists them; with the trailers alone the index can be made again.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import zstandard
from blake3 import blake3

from modules.errors import IntegrityError, InvalidModuleData
from modules.wrappers.dedup.domain import ID_BYTES, MAC_BYTES, MIB, UID_BYTES, Domain

MAGIC: Final = b"OSFP1\r\n\0"
FOOT: Final = struct.Struct(">I8s")
DATA: Final = 1
RECIPE: Final = 2
RAW: Final = 0
ZSTD: Final = 1
RUN: Final = 2
"""All bytes are equal: no payload; the offset is the byte's value."""

MAX_TRAILER_BYTES: Final = 16 * MIB
MAX_TRAILER_PLAIN: Final = 64 * MIB
MAX_LENGTH: Final = (1 << 63) - 1

_HEAD: Final = struct.Struct(">16sIH")
_ENTRY: Final = struct.Struct(">B32sIIIB")
_MODULE_DATA: Final = re.compile(
    r"d1:([0-9a-f]{32}):([0-9a-f]{32}):([0-9a-f]{64}):(0|[1-9][0-9]{0,18}):([0-9a-f]{32})"
)


@dataclass(frozen=True, slots=True)
class ModuleData:
    """``d1:<domain>:<uid>:<root id>:<length>:<mac>``."""

    domain: bytes
    uid: bytes
    root: bytes
    length: int
    mac: bytes

    @classmethod
    def make(cls, domain: Domain, uid: bytes, root: bytes, length: int) -> ModuleData:
        return cls(domain.id, uid, root, length, domain.mac(uid, root, length))

    def __str__(self) -> str:
        parts = (self.domain.hex(), self.uid.hex(), self.root.hex(), str(self.length))
        return f"d1:{':'.join(parts)}:{self.mac.hex()}"


def parse_module_data(module_data: str) -> ModuleData:
    """Return the parts of *module_data*; nothing of it is proven yet.

    Raises:
        InvalidModuleData: this module cannot have returned it.
    """
    match = _MODULE_DATA.fullmatch(module_data) if isinstance(module_data, str) else None
    if match is None or int(match[4]) > MAX_LENGTH:
        raise unknown_module_data(module_data)
    domain, uid, root, mac = (bytes.fromhex(match[number]) for number in (1, 2, 3, 5))
    assert (len(uid), len(root), len(mac)) == (UID_BYTES, ID_BYTES, MAC_BYTES)
    return ModuleData(domain, uid, root, int(match[4]), mac)


def unknown_module_data(module_data: object) -> InvalidModuleData:
    """Return the error for what this module never returned."""
    return InvalidModuleData(
        "this module returned no such module_data",
        field="module_data",
        subject=repr(module_data)[:80],
    )


class Blob(NamedTuple):
    """Where a chunk or a recipe node lies in its pack.

    Attributes:
        kind: DATA or RECIPE.
        offset: in the pack; the value of the byte for RUN.
        stored_bytes, plain_bytes: as it lies there, and decoded.
        codec: RAW, ZSTD or RUN.
    """

    kind: int
    id: bytes
    offset: int
    stored_bytes: int
    plain_bytes: int
    codec: int


@dataclass(frozen=True, slots=True)
class Trailer:
    """What a pack says about itself."""

    domain: Domain
    uid: bytes
    blobs: tuple[Blob, ...]


def encode(plain: bytes | memoryview, compressor: zstandard.ZstdCompressor | None) -> _Encoded:
    """Return how a chunk is stored: (codec, value of the byte of a run, payload)."""
    if len(plain) and plain[0] == plain[-1] == plain[len(plain) // 2]:
        byte = bytes(plain[:1])
        if not bytes(plain).strip(byte):
            return RUN, plain[0], b""
    if compressor is not None and len(plain):
        packed = compressor.compress(plain)
        if len(packed) * 100 < len(plain) * 97:
            return ZSTD, 0, packed
    return RAW, 0, bytes(plain)


_Encoded = tuple[int, int, bytes]


def decode(
    payload: bytes | memoryview, blob: Blob, decompressor: zstandard.ZstdDecompressor, subject: str
) -> bytes | memoryview:
    """Return the content of a blob, of which only the length is proven; of RAW the payload itself.

    Raises:
        IntegrityError: it cannot be decoded, or has another length.
    """
    plain: bytes | memoryview
    codec = blob.codec
    if codec == RAW:
        plain = payload
    elif codec == RUN:
        return bytes((blob.offset & 0xFF,)) * blob.plain_bytes
    elif codec == ZSTD:
        try:
            plain = decompressor.decompress(
                payload, max_output_size=blob.plain_bytes, allow_extra_data=False
            )
        except zstandard.ZstdError as error:
            raise damaged(f"a chunk cannot be decompressed: {error}", subject) from error
    else:
        raise damaged(f"a chunk has the unknown codec {codec}", subject)
    if len(plain) != blob.plain_bytes:
        raise damaged(f"a chunk holds {len(plain)} of {blob.plain_bytes} bytes", subject)
    return plain


def format_trailer(domain: Domain, uid: bytes, blobs: Sequence[Blob]) -> bytes:
    """Return the end of a pack: trailer, its length, magic."""
    record = domain.to_bytes()
    plain = b"".join(
        (
            _HEAD.pack(uid, len(blobs), len(record)),
            record,
            *(
                _ENTRY.pack(b.kind, b.id, b.offset, b.stored_bytes, b.plain_bytes, b.codec)
                for b in blobs
            ),
        )
    )
    frame = zstandard.ZstdCompressor(level=1).compress(plain + blake3(plain).digest())
    return frame + FOOT.pack(len(frame), MAGIC)


def trailer_bytes(foot: bytes, size: int, *, subject: str) -> int:
    """Return how long the trailer is in a pack of *size* bytes that ends in *foot*.

    Raises:
        IntegrityError: it is no pack, or cut off.
    """
    length: int
    length, magic = FOOT.unpack(foot)
    if magic != MAGIC or length > min(MAX_TRAILER_BYTES, size - FOOT.size):
        raise damaged("the pack does not end in a trailer", subject)
    return length


def parse_trailer(frame: bytes, *, end: int, subject: str) -> Trailer:
    """Return the trailer in *frame*; its blobs lie before *end*, where it begins.

    Raises:
        IntegrityError: it is damaged.
    """
    try:
        if zstandard.get_frame_parameters(frame).content_size > MAX_TRAILER_PLAIN:
            raise damaged("the pack's trailer is too large", subject)
        data = zstandard.ZstdDecompressor().decompress(frame, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise damaged(f"the pack's trailer: {error}", subject) from error
    plain, digest = data[:-ID_BYTES], data[-ID_BYTES:]
    if len(plain) < _HEAD.size or blake3(plain).digest() != digest:
        raise damaged("the pack's trailer is damaged", subject)
    uid, count, size = _HEAD.unpack_from(plain)
    start = _HEAD.size + size
    if len(plain) != start + count * _ENTRY.size:
        raise damaged("the pack's trailer has another length than it says", subject)
    domain = Domain.from_bytes(plain[_HEAD.size : start], subject=subject)
    blobs = tuple(Blob(*fields) for fields in _ENTRY.iter_unpack(plain[start:]))
    if any(b.codec != RUN and b.offset + b.stored_bytes > end for b in blobs):
        raise damaged("the pack's trailer names blobs outside of it", subject)
    return Trailer(domain, uid, blobs)


def damaged(reason: str, subject: str) -> IntegrityError:
    """Return the error for something that is not what was stored."""
    return IntegrityError(
        reason,
        operation="read deduplicated object",
        subject=subject,
        hint="call its fsck; restore from a snapshot or a replica",
    )
