"""One object as one file: written durably, read back with clear errors."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from contextlib import suppress

from modules.durable import TEMPORARY_PREFIX, fsync_directory
from modules.errors import StorageError, from_oserror
from modules.streams import SupportsRead, copy

_CREATE = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC


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
    """Write *stream* to the file that :func:`create` opened, and close it; return its size.

    Returns after fsync of the file and of the directory. On any exception nothing is left; what
    *stream* raises passes unchanged.

    Rename first, and only then the fsyncs: the id is random and nobody knows it before this
    returns, so the name may be visible early, and both the name and the data reach the disk in
    one journal commit instead of two (docs/performance.md). A killed process leaves at most a
    temporary file, or a whole object that nothing refers to; a power cut may tear the latter.
    A sweep finds both.

    Raises:
        StorageError: the file system failed, or *before_block* refused.
    """
    temporary = f"{leaf}/{TEMPORARY_PREFIX}{object_id}"
    final = f"{leaf}/{object_id}"

    def write(block: bytes) -> int:
        try:
            return os.write(fd, block)
        except OSError as error:
            raise _put_error(error, subject) from error

    visible = temporary
    try:
        try:
            size = copy(stream, write, expected_bytes=expected_bytes, before_block=before_block)
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


class ObjectFile(io.FileIO):
    """An object's file, open for reading; ``fileno()`` lets a host send it without copying.

    A read error of the disk is an IntegrityError.
    """

    def read(self, size: int | None = -1, /) -> bytes:
        """Return up to *size* bytes, all that is left for -1, ``b""`` only at the end."""
        try:
            return super().read(-1 if size is None else size) or b""
        except OSError as error:
            raise from_oserror(error, operation="read object", subject=self._subject) from error

    def readall(self) -> bytes:
        """Return all bytes that are left."""
        return self.read(-1)

    def readinto(self, buffer: object, /) -> int:
        """Fill *buffer* and return how many bytes that were."""
        try:
            return super().readinto(buffer) or 0  # type: ignore[arg-type]  # as io.RawIOBase
        except OSError as error:
            raise from_oserror(error, operation="read object", subject=self._subject) from error

    @property
    def _subject(self) -> str:
        return os.path.basename(str(self.name))


def remove(path: str) -> None:
    """Unlink an object's file.

    Not made durable: a file that a power cut brings back has no reference any more and is found
    by a sweep, and waiting for the disk would make each delete as slow as a put.

    Raises:
        OSError: as the file system gave it.
    """
    os.unlink(path)


def _put_error(error: OSError, subject: str) -> StorageError:
    return from_oserror(error, operation="put object into", subject=subject)
