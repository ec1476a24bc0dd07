"""Files that are either wholly there, on stable storage, or not there at all."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from types import TracebackType
from typing import Final, Self

_CREATE: Final = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC

TEMPORARY_PREFIX: Final = ".tmp-"
"""Names of files being written start with this; a crash may leave one, which a sweep removes."""


class durable_file:  # noqa: N801 - used like contextlib's
    """A new file to write to, in a ``with``; on a clean exit it appears durably as *path*.

    Exclusive temporary file in the same directory, fsync, rename, fsync of the directory. (On
    ZFS O_TMPFILE and link would force a transaction group per file.) On any exception the
    temporary file is removed and nothing appears. An existing *path* is replaced atomically.

    Args:
        is_name_secret: *path* is random and nobody knows it before this returns. Then the
            rename comes before the fsyncs, and file and name reach the disk in one commit of
            the file system instead of two. After a power cut a torn file may bear the name.

    Raises:
        OSError: as the file system gave it; nothing is visible then.
    """

    __slots__ = ("_directory", "_fd", "_is_name_secret", "_mode", "_target", "_visible")

    def __init__(
        self, path: str | os.PathLike[str], *, mode: int = 0o444, is_name_secret: bool = False
    ) -> None:
        self._target = os.fspath(path)
        self._mode = mode
        self._is_name_secret = is_name_secret
        self._directory, name = os.path.split(self._target)
        own = name if is_name_secret else secrets.token_hex(16)
        self._visible = os.path.join(self._directory, TEMPORARY_PREFIX + own)
        self._fd = -1

    def __enter__(self) -> Self:
        self._fd = os.open(self._visible, _CREATE, self._mode)
        return self

    def write(self, data: bytes | bytearray | memoryview, /) -> int:
        """Write all of *data*; return how many bytes that were."""
        size = os.write(self._fd, data)
        if size < (whole := memoryview(data).nbytes):  # a disk that is filling up
            rest = memoryview(data).cast("B")
            while size < whole:
                size += os.write(self._fd, rest[size:])
        return size

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            try:
                if kind is None:
                    self._appear()
            finally:
                os.close(self._fd)
            if kind is None:
                fsync_directory(self._directory or ".")
        except BaseException:
            self._remove()
            raise
        if kind is not None:
            self._remove()

    def _appear(self) -> None:
        if not self._is_name_secret:
            os.fsync(self._fd)
        os.rename(self._visible, self._target)
        self._visible = self._target
        if self._is_name_secret:
            os.fsync(self._fd)

    def _remove(self) -> None:
        with suppress(FileNotFoundError):
            os.unlink(self._visible)


def fsync_directory(path: str | os.PathLike[str]) -> None:
    """Make the entries of a directory durable: creations, renames and removals in it."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def make_directories(path: str | os.PathLike[str], *, mode: int = 0o755) -> None:
    """Create *path* and its missing parents, each made durable in its parent."""
    target = os.path.abspath(path)
    missing = []
    while not os.path.isdir(target):
        missing.append(target)
        target = os.path.dirname(target)
    for directory in reversed(missing):
        with suppress(FileExistsError):
            os.mkdir(directory, mode)
        fsync_directory(os.path.dirname(directory))
