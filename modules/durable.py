"""Files that are either wholly there, on stable storage, or not there at all."""

from __future__ import annotations

import io
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

TEMPORARY_PREFIX: Final = ".tmp-"
"""Names of files being written start with this; a crash may leave one, which a sweep removes."""


@contextmanager
def durable_file(
    path: str | os.PathLike[str], *, mode: int = 0o444, is_name_secret: bool = False
) -> Iterator[io.FileIO]:
    """Give a new, unbuffered file to write to; on a clean exit it appears durably as *path*.

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
    target = os.fspath(path)
    directory = os.path.dirname(target) or "."
    temporary = os.path.join(directory, TEMPORARY_PREFIX + secrets.token_hex(16))
    flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC
    file = io.FileIO(os.open(temporary, flags, mode), "wb")
    visible = temporary
    try:
        with file:
            yield file
            if not is_name_secret:
                os.fsync(file.fileno())
            os.rename(temporary, target)
            visible = target
            if is_name_secret:
                os.fsync(file.fileno())
        fsync_directory(directory)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(visible)
        raise


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
