"""An object on its way out: seekable, one frame at a time."""

from __future__ import annotations

from bisect import bisect_right
from types import TracebackType
from typing import Final, Self

import zstandard

from modules.wrappers.compression.format import (
    CHECKSUM_BYTES,
    FOOT_BYTES,
    MAX_FRAME_BYTES,
    Table,
    damaged,
    parse_table,
    table_bytes,
)
from modules.wrappers.inner_reader import InnerReader

_TAIL_BYTES: Final = 64 * 1024
"""Read at once from the end: the whole table of most objects, and of small ones all there is."""


def read_table(inner: InnerReader, *, subject: str) -> Table:
    """Return the table at the end of an object; one inner read, two for objects beyond 1 GiB.

    Raises:
        IntegrityError: there is none, or it does not fit the object.
    """
    size = inner.size()
    if size < FOOT_BYTES:
        raise damaged("it is too short for a seek table", subject)
    tail_bytes = min(size, _TAIL_BYTES)
    tail = inner.read_at(size - tail_bytes, tail_bytes)
    wanted = table_bytes(tail[-FOOT_BYTES:], subject=subject)
    if wanted > size:
        raise damaged("its seek table is longer than the object", subject)
    data = tail[-wanted:] if wanted <= tail_bytes else inner.read_at(size - wanted, wanted)
    return parse_table(data, size=size, subject=subject)


class DecompressedStream:
    """The content of one object; keeps the frame it read last, so at most 8 MiB and its source.

    Args:
        inner: the compressed object; closed with this stream.
        subject: for errors: the object's module_data.
    """

    __slots__ = (
        *("_inner", "_table", "_subject", "_decompressor", "_position"),
        *("_frame", "_frame_number", "_is_closed"),
    )

    def __init__(self, inner: InnerReader, table: Table, subject: str) -> None:
        self._inner = inner
        self._table = table
        self._subject = subject
        self._decompressor = zstandard.ZstdDecompressor(max_window_size=MAX_FRAME_BYTES)
        self._position = 0
        self._frame = memoryview(b"")
        self._frame_number = -1
        self._is_closed = False

    def read(self, size: int | None = -1, /) -> bytes:
        """Return *size* bytes, fewer only at the end, all that is left for -1.

        Raises:
            IntegrityError: what is stored is not what was put.
        """
        self._require_open()
        left = self._table.length - self._position
        missing = left if size is None or size < 0 else min(size, left)
        parts: list[memoryview] = []
        while missing > 0:
            part = self._read_part(missing)
            parts.append(part)
            missing -= len(part)
        return bytes(parts[0]) if len(parts) == 1 else b"".join(parts)

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """Move to *offset* from the start (0), the position (1) or the end (2); return it."""
        self._require_open()
        if whence == 1:
            offset += self._position
        elif whence == 2:
            offset += self._table.length
        elif whence != 0:
            raise ValueError(f"whence must be 0, 1 or 2, not {whence!r}")
        if offset < 0:
            raise ValueError(f"cannot seek to the negative position {offset}")
        self._position = offset
        return offset

    def tell(self) -> int:
        """Return the position in bytes."""
        self._require_open()
        return self._position

    def close(self) -> None:
        """Close the inner stream; again is silent."""
        if not self._is_closed:
            self._is_closed = True
            self._frame = memoryview(b"")
            self._inner.close()

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    @property
    def closed(self) -> bool:
        """True after close."""
        return self._is_closed

    def __enter__(self) -> Self:
        self._require_open()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _read_part(self, wanted: int) -> memoryview:
        """Return 1 to *wanted* bytes from the position, which is inside the object."""
        number = bisect_right(self._table.plain_starts, self._position) - 1
        if number != self._frame_number:
            self._frame = memoryview(self._read_frame(number))
            self._frame_number = number
        start = self._position - self._table.plain_starts[number]
        part = self._frame[start : start + wanted]
        self._position += len(part)
        return part

    def _read_frame(self, number: int) -> bytes:
        packed, plain, checksum = self._table.entries[number]
        frame = self._inner.read_at(self._table.starts[number], packed)
        try:
            declared = zstandard.get_frame_parameters(frame).content_size
            if declared != plain or int.from_bytes(frame[-CHECKSUM_BYTES:], "little") != checksum:
                raise damaged(f"frame {number} is not the one in its seek table", self._subject)
            content = self._decompressor.decompress(
                frame, max_output_size=plain, allow_extra_data=False
            )
        except zstandard.ZstdError as error:
            raise damaged(f"frame {number}: {error}", self._subject) from error
        if len(content) != plain:
            raise damaged(f"frame {number} holds {len(content)} of {plain} bytes", self._subject)
        return content

    def _require_open(self) -> None:
        if self._is_closed:
            raise ValueError("the stream is closed")
