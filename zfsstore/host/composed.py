"""One stream over several pieces of blobs."""

from __future__ import annotations

import io
from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import accumulate
from types import TracebackType
from typing import Self

from modules.errors import IntegrityError
from modules.streams import ReadStream
from zfsstore.host.namespace.records import Blob, Extent


class ComposedStream:
    """The bytes of *extents*, one after the other: a modules.streams.ReadStream.

    Holds at most one blob open. Seek is O(log n) in the number of extents.

    Args:
        extents: in order; may be empty.
        open_blob: returns a stream of a whole blob.
    """

    def __init__(self, extents: Sequence[Extent], open_blob: Callable[[Blob], ReadStream]) -> None:
        self._extents = extents
        self._ends = list(accumulate(extent.length for extent in extents))
        self._size = self._ends[-1] if self._ends else 0
        self._open_blob = open_blob
        self._blob: Blob | None = None
        self._stream: ReadStream | None = None
        self._position = 0
        self._is_closed = False

    def read(self, size: int = -1, /) -> bytes:
        self._check_open()
        wanted = max(0, self._size - self._position)
        if size >= 0:
            wanted = min(wanted, size)
        parts = []
        while wanted:
            part = self._read_piece(wanted)
            parts.append(part)
            wanted -= len(part)
            self._position += len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def seek(self, offset: int, whence: int = 0, /) -> int:
        self._check_open()
        bases = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}
        if whence not in bases:
            raise ValueError(f"whence must be 0, 1 or 2, not {whence}")
        position = bases[whence] + offset
        if position < 0:
            raise ValueError(f"cannot seek to {position}")
        self._position = position
        return position

    def tell(self) -> int:
        self._check_open()
        return self._position

    def close(self) -> None:
        self._is_closed = True
        stream, self._stream, self._blob = self._stream, None, None
        if stream is not None:
            stream.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> None:
        self.close()

    def _read_piece(self, wanted: int) -> bytes:
        """Return 1 to *wanted* bytes at the position, which is before the end, of one extent."""
        number = bisect_right(self._ends, self._position)
        extent = self._extents[number]
        inside = self._position - (self._ends[number] - extent.length)
        stream = self._open(extent.blob)
        stream.seek(extent.offset + inside)
        part = stream.read(min(wanted, extent.length - inside))
        if not part:
            raise IntegrityError(
                f"it ends before byte {extent.offset + inside}",
                operation="read blob",
                subject=extent.blob.module_data,
            )
        return part

    def _open(self, blob: Blob) -> ReadStream:
        if self._stream is None or self._blob != blob:
            if self._stream is not None:
                self._stream.close()
                self._stream = None
            self._stream = self._open_blob(blob)
            self._blob = blob
        return self._stream

    def _check_open(self) -> None:
        if self._is_closed:
            raise ValueError("the stream is closed")
