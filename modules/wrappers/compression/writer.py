"""An object on its way in: a stream of zstd frames that the inner module reads."""

from __future__ import annotations

from typing import Final

import zstandard

from modules.errors import TruncatedStream
from modules.streams import SupportsRead, read_block
from modules.wrappers.compression.format import CHECKSUM_BYTES, Entry, format_table, frame_size

TRIAL_FRAMES: Final = 4
_LEAST_GAIN: Final = 0.03


class PromisedStream:
    """A source that ends where it was promised to, or raises."""

    __slots__ = ("_expected_bytes", "_source", "length")

    def __init__(self, source: SupportsRead, expected_bytes: int | None) -> None:
        self._source = source
        self._expected_bytes = expected_bytes
        self.length = 0

    def read(self, size: int = -1, /) -> bytes:
        """Return up to *size* bytes; ``b""`` only at the end.

        Raises:
            TruncatedStream: there are more or fewer bytes than were promised.
        """
        block = read_block(self._source, size)
        self.length += len(block)
        expected = self._expected_bytes
        if expected is not None and (
            self.length > expected or (len(block) < size and self.length < expected)
        ):
            raise TruncatedStream(
                f"the stream holds {self.length} bytes{' or more' if block else ''}, "
                f"but {expected} were promised",
                expected_bytes=expected,
                received_bytes=self.length,
                hint="send the whole object again",
            )
        return block


class CompressingStream:
    """Reads *source* and gives frames and table; or the bytes as they are, when that saves nothing.

    It decides by the first four frames, which it reads when it is made.

    Attributes:
        is_compressed: False when the source is passed on as it is.
        is_complete: True once the source ended as it should and all was handed out.
    """

    def __init__(self, source: PromisedStream, level: int) -> None:
        self.is_complete = False
        self._source = source
        self._compressor = zstandard.ZstdCompressor(level=level, write_checksum=True)
        self._entries: list[Entry] = []
        self._is_ended = False
        self._error: BaseException | None = None
        plain = [block for _ in range(TRIAL_FRAMES) if (block := self._next_block())]
        frames = [self._compress(block) for block in plain]
        size = sum(map(len, plain))
        stored = sum(map(len, frames)) + len(format_table(self._entries))
        self.is_compressed = 0 < stored <= size * (1 - _LEAST_GAIN)
        self._ready = memoryview(b"".join(frames if self.is_compressed else plain))

    def read(self, size: int = -1, /) -> bytes:
        """Return up to *size* bytes; ``b""`` only at the end.

        Raises:
            BaseException: what the source raised; again with every further read.
        """
        if self._error is not None:
            raise self._error
        if not self._ready and not self.is_complete:
            try:
                self._ready = memoryview(self._next())
            except BaseException as error:
                self._error = error
                raise
        block = bytes(self._ready[:size] if size >= 0 else self._ready)
        self._ready = self._ready[len(block) :]
        return block

    def _next(self) -> bytes:
        """Return what follows, ``b""`` at the end."""
        block = self._next_block()
        if block:
            return self._compress(block) if self.is_compressed else block
        self.is_complete = True
        return format_table(self._entries) if self.is_compressed else b""

    def _next_block(self) -> bytes:
        if self._is_ended:
            return b""
        size = frame_size(len(self._entries))
        block = self._source.read(size)
        self._is_ended = len(block) < size
        return block

    def _compress(self, block: bytes) -> bytes:
        frame = self._compressor.compress(block)
        checksum = int.from_bytes(frame[-CHECKSUM_BYTES:], "little")
        self._entries.append((len(frame), len(block), checksum))
        return frame
