"""What the suite stores: bytes that can be made again from a seed, and streams that misbehave.

Apart from the rule about binary data, all of it is letters and digits in ASCII: a module that
corrupts binary data then breaks that rule and not every other one with it.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from functools import lru_cache
from typing import Final, Protocol

_BLOCK: Final = 64 * 1024
_HEADER: Final = 16
_PATIENCE: Final = 1000


class _Reads(Protocol):
    def read(self, size: int, /) -> bytes: ...


def pattern(seed: str, size: int) -> bytes:
    """Return *size* bytes that depend on *seed* and, at each place, on the place."""
    return pattern_range(seed, 0, size)


def pattern_range(seed: str, start: int, end: int) -> bytes:
    """Return bytes *start* to *end* of the endless pattern of *seed*."""
    parts = []
    position = start
    while position < end:
        number, offset = divmod(position, _BLOCK)
        length = min(_BLOCK - offset, end - position)
        header = b"%016d" % number
        if offset < _HEADER:
            parts.append(header[offset : offset + length])
            offset, length = _HEADER, length - (_HEADER - offset)
        if length > 0:
            parts.append(_block(seed)[offset : offset + length])
        position = (number + 1) * _BLOCK
    return b"".join(parts)


@lru_cache(maxsize=8)
def _block(seed: str) -> bytes:
    digest = hashlib.shake_128(seed.encode()).digest(_BLOCK * 3 // 4)
    return base64.b64encode(digest, b"-_")


class Source:
    """A stream for ``put``: the pattern of a seed, with faults on request. Bounded memory.

    Args:
        size: how many bytes it delivers before ``b""``.
        max_read: deliver at most so many bytes per read, as a socket does.
        fail_at: raise *error* when so many bytes were delivered.
        pause_at: call *pause* once when so many bytes were delivered.
    """

    def __init__(
        self,
        seed: str,
        size: int,
        *,
        max_read: int | None = None,
        fail_at: int | None = None,
        error: Exception | None = None,
        pause_at: int | None = None,
        pause: Callable[[], None] | None = None,
    ) -> None:
        self._seed, self._size = seed, size
        self._max_read, self._fail_at, self._pause_at = max_read, fail_at, pause_at
        self._error = error or ConnectionResetError("the client went away")
        self._pause = pause
        self._position = 0
        self._reads_after_end = 0

    def read(self, size: int = -1, /) -> bytes:
        if self._fail_at is not None and self._position >= self._fail_at:
            raise self._error
        if self._pause and self._pause_at is not None and self._position >= self._pause_at:
            pause, self._pause = self._pause, None
            pause()
        left = self._size - self._position
        length = left if size is None or size < 0 else min(size, left)
        for limit in (self._fail_at, self._pause_at if self._pause else None):
            if limit is not None:
                length = min(length, limit - self._position)
        if self._max_read is not None:
            length = min(length, self._max_read)
        self._check_patience(length, size)
        start, self._position = self._position, self._position + length
        return pattern_range(self._seed, start, self._position)

    def _check_patience(self, length: int, size: int) -> None:
        if length == 0 and size != 0:
            self._reads_after_end += 1
            if self._reads_after_end > _PATIENCE:
                raise AssertionError(f"put read the stream {_PATIENCE} times after its end")


def read_exactly(stream: _Reads, size: int) -> bytes:
    """Return *size* bytes, fewer only at the end; a read may return fewer than asked.

    Raises:
        AssertionError: a read returned more than asked, or something else than bytes.
    """
    parts = []
    while size > 0:
        part = stream.read(size)
        if not isinstance(part, bytes):
            raise AssertionError(f"read({size}) must return bytes, not {type(part).__name__}")
        if len(part) > size:
            raise AssertionError(f"read({size}) returned {len(part)} bytes")
        if not part:
            break
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def first_difference(expected: bytes, found: bytes) -> str:
    """Return how two byte strings differ, for a reader who cannot look at a megabyte."""
    if expected == found:
        return "they are equal"
    if len(expected) != len(found):
        return f"{len(found)} bytes came back instead of {len(expected)}"
    pairs = enumerate(zip(expected, found, strict=True))
    position, (a, b) = next((i, pair) for i, pair in pairs if pair[0] != pair[1])
    return f"byte {position} is {b:#04x} instead of {a:#04x}"
