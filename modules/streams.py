"""Streams: what a module reads from, what it returns, and how to copy one safely."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Final, Protocol, Self

from modules.errors import InvalidArgument, TruncatedStream

BLOCK_SIZE: Final = 1024 * 1024
"""Bytes per read of a copy: ZFS's recordsize for objects, and large enough elsewhere."""


class SupportsRead(Protocol):
    """The source of a put: the least a module may ask for."""

    def read(self, size: int, /) -> bytes:
        """Return up to *size* bytes; ``b""`` only at the end."""


class ReadStream(Protocol):
    """What ``get_read_stream`` returns: a seekable, closeable source of bytes.

    ``seek`` past the end is allowed and reads ``b""``; a negative position is a ValueError (or
    an OSError, as real files give); anything after ``close`` is a ValueError. ``close`` may be
    called twice.

    Source: the io.RawIOBase contract, docs.python.org, library/io.
    """

    def read(self, size: int = -1, /) -> bytes:
        """Return up to *size* bytes, all that is left for -1, ``b""`` only at the end."""

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """Move to *offset* from the start (0), the position (1) or the end (2); return it."""

    def tell(self) -> int:
        """Return the position in bytes."""

    def close(self) -> None:
        """Release what the stream holds."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> None: ...


def copy(
    source: SupportsRead,
    write: Callable[[bytes], int | None],
    *,
    expected_bytes: int | None = None,
    block_size: int = BLOCK_SIZE,
    before_block: Callable[[int, int], None] | None = None,
) -> int:
    """Copy *source* to its end and return how many bytes that were.

    Blocks are gathered to *block_size* before each *write*, so that short reads (a socket's)
    do not become small writes.

    Args:
        source: may return short reads.
        write: may write less than it is given and say how much, as a raw file does.
        expected_bytes: how many bytes there must be; None when unknown.
        before_block: called as ``before_block(bytes so far, bytes of this block)`` before each
            write; raises to stop (quota checks).

    Raises:
        TruncatedStream: *source* held fewer or more bytes than *expected_bytes*.
        InvalidArgument: *source* returned something that is not bytes.
    """
    total = 0
    while block := read_block(source, block_size):
        if expected_bytes is not None and total + len(block) > expected_bytes:
            raise TruncatedStream(
                f"the stream goes on after the {expected_bytes} bytes that were promised",
                expected_bytes=expected_bytes,
                received_bytes=total + len(block),
            )
        if before_block is not None:
            before_block(total, len(block))
        write_all(write, block)
        total += len(block)
    if expected_bytes is not None and total != expected_bytes:
        raise TruncatedStream(
            f"the stream ended after {total} of {expected_bytes} bytes",
            expected_bytes=expected_bytes,
            received_bytes=total,
            hint="send the whole object again",
        )
    return total


def write_all(write: Callable[[bytes], int | None], block: bytes) -> None:
    """Call *write* until all of *block* is written."""
    written = write(block)
    if written is None or written == len(block):
        return
    rest = memoryview(block)[written:]
    while rest:
        rest = rest[write(bytes(rest)) or len(rest) :]


def read_block(source: SupportsRead, size: int) -> bytes:
    """Return *size* bytes of *source*, fewer only at its end; copies only after short reads.

    Raises:
        InvalidArgument: *source* returned something that is not bytes.
    """
    first = source.read(size)
    if not isinstance(first, bytes | bytearray | memoryview):
        raise InvalidArgument(
            f"read() must return bytes, not {type(first).__name__}", field="stream"
        )
    if not first or len(first) == size:
        return first
    parts = [first]
    missing = size - len(first)
    while missing > 0 and (part := source.read(missing)):
        parts.append(part)
        missing -= len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)
