"""One object as one file: written durably, read back with clear errors."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Self

from modules.durable import TEMPORARY_PREFIX, fsync_directory
from modules.errors import StorageError, VolumeNotFound, from_oserror
from modules.streams import SupportsRead, copy

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer as Buffer

_MAX_READ: Final = 1 << 30
_CREATE: Final = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC


def create(leaf: str, object_id: str) -> int:
    """Return a descriptor of the new temporary file for an object in directory *leaf*.

    Raises:
        OSError: as the file system gave it.
    """
    return os.open(f"{leaf}/{TEMPORARY_PREFIX}{object_id}", _CREATE, 0o444)


def store(
    fd: int,
    leaf: str,
    object_id: str,
    stream: SupportsRead,
    *,
    subject: str,
    expected_bytes: int | None,
    before_block: Callable[[int, int], None],
) -> int:
    """Write *stream* to the file that :func:`create` opened, and finish it; return its size.

    On any exception nothing is left; what *stream* raises passes unchanged.

    Raises:
        StorageError: the file system failed, or *before_block* refused.
    """

    def write(block: bytes) -> int:
        try:
            return os.write(fd, block)
        except OSError as error:
            raise _put_error(error, subject) from error

    def fill() -> int:
        return copy(stream, write, expected_bytes=expected_bytes, before_block=before_block)

    return finish(fd, leaf, object_id, fill, subject=subject)


def finish(fd: int, leaf: str, object_id: str, fill: Callable[[], int], *, subject: str) -> int:
    """Let *fill* write the file that :func:`create` opened, and close it; return what it returns.

    Returns after fsync of the file and of the directory. On any exception nothing is left; what
    *fill* raises passes unchanged.

    Rename first, and only then the fsyncs: the id is random and nobody knows it before this
    returns, so the name may be visible early, and both the name and the data reach the disk in
    one commit instead of two (zfsstore/README.md, "Write path"). A killed process leaves at
    most a temporary file, or a whole object that nothing refers to; a power cut may tear the
    latter. A sweep finds both.

    Raises:
        StorageError: the file system failed.
    """
    temporary = f"{leaf}/{TEMPORARY_PREFIX}{object_id}"
    final = f"{leaf}/{object_id}"
    visible = temporary
    try:
        try:
            size = fill()
            try:
                os.rename(temporary, final)
                visible = final
                os.fsync(fd)
                fsync_directory(leaf)
            except OSError as error:
                raise _put_error(error, subject) from error
        finally:
            os.close(fd)
    except BaseException:
        with suppress(OSError):
            os.unlink(visible)
        raise
    return size


class ObjectFile:
    """An object's file, open for reading; ``fileno()`` lets a host send it without copying.

    A read error of the disk is an IntegrityError. It has what io.RawIOBase has for reading, but
    is none: io.FileIO looks at each file it opens, and what io.RawIOBase does when an object goes
    counts, too, for objects of a few KiB.

    Raises:
        OSError: on opening, as the file system gave it.
    """

    __slots__ = ("_fd", "_subject")

    def __init__(self, path: str, subject: str) -> None:
        self._fd = -1  # for __del__, when the next line fails
        self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._subject = subject

    def read(self, size: int | None = -1, /) -> bytes:
        """Return up to *size* bytes, all that is left for -1, ``b""`` only at the end."""
        if size is None or size < 0:
            return self.readall()
        try:
            return os.read(self._fd, size)
        except OSError as error:
            raise self._error(error) from error

    def readall(self) -> bytes:
        """Return all bytes that are left."""
        left = os.fstat(self.fileno()).st_size - self.tell()
        parts = []
        while part := self.read(max(1, min(left, _MAX_READ))):
            parts.append(part)
            left -= len(part)
        return b"".join(parts)

    def readinto(self, buffer: Buffer, /) -> int:
        """Fill *buffer* and return how many bytes that were."""
        try:
            return os.readv(self.fileno(), [buffer])
        except OSError as error:
            raise self._error(error) from error

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """Move to *offset* from the start (0), the position (1) or the end (2); return it."""
        return os.lseek(self.fileno(), offset, whence)

    def tell(self) -> int:
        """Return the position in bytes."""
        return os.lseek(self.fileno(), 0, os.SEEK_CUR)

    def fileno(self) -> int:
        """Return the descriptor."""
        if self._fd < 0:
            raise _closed()
        return self._fd

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    @property
    def closed(self) -> bool:
        """True after close."""
        return self._fd < 0

    def close(self) -> None:
        """Close the file; again is silent."""
        fd = self._fd
        if fd >= 0:
            self._fd = -1
            os.close(fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        if self._fd >= 0:
            self.close()

    def _error(self, error: OSError) -> Exception:
        if self._fd < 0:
            return _closed()
        return from_oserror(error, operation="read object", subject=self._subject)


def _closed() -> ValueError:
    return ValueError("read of a closed object")


def remove(path: str) -> None:
    """Unlink an object's file.

    Not made durable: a file that a power cut brings back has no reference any more and is found
    by a sweep, and waiting for the disk would make each delete as slow as a put.

    Raises:
        OSError: as the file system gave it.
    """
    os.unlink(path)


def _put_error(error: OSError, subject: str) -> StorageError:
    return from_oserror(
        error, operation="put object into", subject=subject, not_found=VolumeNotFound
    )
