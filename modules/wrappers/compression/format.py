"""Format C1: independent zstd frames, and a table of them at the end. Any zstd tool can read it.

    frame*  seek table

The seek table is a skippable frame, all numbers little-endian:

    0x184D2A5E  u32 | size of the rest  u32
    for each frame: compressed size u32, plain size u32, checksum u32
    number of frames u32 | descriptor u8 = 0x80 (checksums) | 0x8F92EAB1 u32

The checksum is the low half of XXH64 of the frame's content, which a zstd frame ends with, too.
Sources: RFC 8878; zstd, contrib/seekable_format/zstd_seekable_compression_format.md, 0.1.0.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Final

from modules.errors import IntegrityError, InvalidModuleData

FRAME_BYTES: Final = 256 * 1024
MAX_FRAME_BYTES: Final = 8 * 1024 * 1024
FRAMES_BEFORE_DOUBLING: Final = 65536
MAX_TABLE_BYTES: Final = 64 * 1024 * 1024

_ENTRY: Final = struct.Struct("<III")
_HEAD: Final = struct.Struct("<II")
_FOOT: Final = struct.Struct("<IBI")
_SKIPPABLE_MAGIC: Final = 0x184D2A5E
_SEEKABLE_MAGIC: Final = 0x8F92EAB1
_HAS_CHECKSUMS: Final = 0x80
FOOT_BYTES: Final = _FOOT.size
CHECKSUM_BYTES: Final = 4

_MODULE_DATA: Final = re.compile(r"c([01]):(0|[1-9][0-9]{0,18}):(.+)", re.DOTALL)

Entry = tuple[int, int, int]
"""A frame: compressed size, plain size, checksum."""


@dataclass(frozen=True, slots=True)
class ModuleData:
    """``c1:<plain length>:<inner module_data>``; ``c0`` when it is stored as it was put."""

    is_compressed: bool
    length: int
    inner: str

    def __str__(self) -> str:
        return f"c{int(self.is_compressed)}:{self.length}:{self.inner}"


@dataclass(frozen=True, slots=True)
class Table:
    """Where the frames of an object are.

    Attributes:
        entries: the frames, in order.
        starts: where each begins in the inner object, and at last where the table does.
        plain_starts: the same in the content, and at last its length.
    """

    entries: Sequence[Entry]
    starts: Sequence[int]
    plain_starts: Sequence[int]

    @property
    def length(self) -> int:
        """The content's length in bytes."""
        return self.plain_starts[-1]


def frame_size(number: int) -> int:
    """Return how many bytes of content frame *number* takes.

    Frames grow with the object, so that the table of a large one stays small: 12 bytes for each
    256 KiB up to 16 GiB, and so on.
    """
    return min(FRAME_BYTES << min(number // FRAMES_BEFORE_DOUBLING, 5), MAX_FRAME_BYTES)


def parse_module_data(module_data: str) -> ModuleData:
    """Return the parts of *module_data*.

    Raises:
        InvalidModuleData: this module cannot have returned it.
    """
    match = _MODULE_DATA.fullmatch(module_data) if isinstance(module_data, str) else None
    if match is None:
        raise InvalidModuleData(
            "this module returned no such module_data",
            field="module_data",
            subject=repr(module_data)[:80],
        )
    return ModuleData(match[1] == "1", int(match[2]), match[3])


def format_table(entries: Sequence[Entry]) -> bytes:
    """Return the seek table."""
    size = len(entries) * _ENTRY.size + _FOOT.size
    return b"".join(
        (
            _HEAD.pack(_SKIPPABLE_MAGIC, size),
            *(_ENTRY.pack(*entry) for entry in entries),
            _FOOT.pack(len(entries), _HAS_CHECKSUMS, _SEEKABLE_MAGIC),
        )
    )


def table_bytes(foot: bytes, *, subject: str) -> int:
    """Return how long the table is that ends in *foot*.

    Raises:
        IntegrityError: it is none, or longer than any that is written.
    """
    count, descriptor, magic = _FOOT.unpack(foot)
    size: int = _HEAD.size + count * _ENTRY.size + _FOOT.size
    if magic != _SEEKABLE_MAGIC or descriptor != _HAS_CHECKSUMS or size > MAX_TABLE_BYTES:
        raise damaged("it does not end in a seek table", subject)
    return size


def parse_table(data: bytes, *, size: int, subject: str) -> Table:
    """Return the table, which agrees with itself and with the object's *size*.

    Raises:
        IntegrityError: it does not, or a frame is larger than any that is written.
    """
    magic, rest = _HEAD.unpack_from(data)
    if magic != _SKIPPABLE_MAGIC or rest != len(data) - _HEAD.size:
        raise damaged("its seek table is damaged", subject)
    entries = tuple(_ENTRY.iter_unpack(memoryview(data)[_HEAD.size : -_FOOT.size]))
    if any(not 0 < plain <= MAX_FRAME_BYTES or not packed for packed, plain, _ in entries):
        raise damaged("a frame in its seek table is empty or larger than 8 MiB", subject)
    starts = tuple(accumulate((entry[0] for entry in entries), initial=0))
    if starts[-1] + len(data) != size:
        raise damaged("its seek table is for an object of another size", subject)
    plain_starts = tuple(accumulate((entry[1] for entry in entries), initial=0))
    return Table(entries, starts, plain_starts)


def damaged(reason: str, subject: str) -> IntegrityError:
    """Return the error for an object that is not what was stored."""
    return IntegrityError(
        reason,
        operation="decompress object",
        subject=subject,
        hint="restore it from a snapshot or a replica",
    )
