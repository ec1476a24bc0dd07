"""Bodies of answers: small ones read ahead, plain files by sendfile, others block by block."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

from modules.errors import IntegrityError
from modules.streams import ReadStream

SMALL_BYTES: Final = 64 * 1024
BLOCK_BYTES: Final = 256 * 1024

_FileWrapper = Callable[[Any, int], Iterable[bytes]]


def read_small(stream: ReadStream, offset: int, length: int) -> bytes:
    """Return *length* bytes from *offset* and close the stream; a fault shows before headers do.

    Raises:
        IntegrityError: the object holds fewer bytes.
    """
    with stream:
        if offset:
            stream.seek(offset)
        return b"".join(_blocks(stream, length))


def body_of(
    environ: Mapping[str, Any], stream: ReadStream, *, offset: int, length: int, size_bytes: int
) -> Iterable[bytes]:
    """Return a WSGI body of *length* bytes from *offset*; its ``close`` closes the stream.

    A stream on a real file of exactly the object's size goes through ``wsgi.file_wrapper``,
    which gunicorn and mod_wsgi turn into sendfile(2).
    """
    wrapper: _FileWrapper | None = environ.get("wsgi.file_wrapper")
    fd = _plain_file(stream, size_bytes) if wrapper is not None else None
    if wrapper is not None and fd is not None:
        os.lseek(fd, offset, os.SEEK_SET)  # where servers start to send
        return wrapper(_FileSlice(stream, fd, length), BLOCK_BYTES)
    if offset:
        stream.seek(offset)
    return _StreamBody(stream, length)


def _plain_file(stream: ReadStream, size_bytes: int) -> int | None:
    try:
        fd = int(stream.fileno())  # type: ignore[attr-defined]  # optional in the contract
        return fd if os.fstat(fd).st_size == size_bytes else None
    except (AttributeError, OSError, ValueError):
        return None


class _FileSlice:
    """A file's next *length* bytes, for servers that want a descriptor and for those that read."""

    def __init__(self, stream: ReadStream, fd: int, length: int) -> None:
        self._stream = stream
        self._fd = fd
        self._left = length

    def read(self, size: int = -1, /) -> bytes:
        wanted = self._left if size < 0 else min(size, self._left)
        data = os.read(self._fd, wanted) if wanted else b""
        self._left -= len(data)
        return data

    def fileno(self) -> int:
        return self._fd

    def tell(self) -> int:
        return os.lseek(self._fd, 0, os.SEEK_CUR)

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        return os.lseek(self._fd, offset, whence)

    def close(self) -> None:
        self._stream.close()


class _StreamBody:
    """Blocks of a stream; a short object breaks the connection instead of ending it properly."""

    def __init__(self, stream: ReadStream, length: int) -> None:
        self._stream = stream
        self._length = length

    def __iter__(self) -> Iterator[bytes]:
        return _blocks(self._stream, self._length)

    def close(self) -> None:
        self._stream.close()


def _blocks(stream: ReadStream, length: int) -> Iterator[bytes]:
    left = length
    while left:
        block = stream.read(min(left, BLOCK_BYTES))
        if not block:
            raise IntegrityError(
                f"it ends {left} bytes before its recorded size",
                operation="read",
                subject="the object",
                hint="restore it from a snapshot or a replica",
            )
        left -= len(block)
        yield bytes(block)
