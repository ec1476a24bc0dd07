"""Files below one directory, reached name by name: no link in it leads anywhere else."""

from __future__ import annotations

import os
import secrets
import stat
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Final

from modules.errors import NotSupported
from zfsstore.published_names import moved_name

_OPEN: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_MODE: Final = 0o755


@contextmanager
def directory(root: int, names: Sequence[str], *, create: bool = False) -> Iterator[int]:
    """Give a descriptor of the directory that *names* lead to from *root*.

    Args:
        create: make what is missing; a file in the way gets the name it has beside a directory.

    Raises:
        FileNotFoundError, NotADirectoryError: it is not there, without *create*.
    """
    fd = os.dup(root)
    try:
        for name in names:
            inner = _enter(fd, name, create=create)
            os.close(fd)
            fd = inner
        yield fd
    finally:
        os.close(fd)


def open_root(path: str) -> int:
    """Return a descriptor of the directory at *path*, created when absent.

    Raises:
        NotSupported: the file system takes different names for the same.
    """
    try:
        return os.open(path, _OPEN)
    except FileNotFoundError:
        os.mkdir(path, _MODE)
    fd = os.open(path, _OPEN)
    try:
        _belong(fd, os.path.dirname(path))
        _check_names(fd)
    except BaseException:
        os.close(fd)
        os.rmdir(path)
        raise
    return fd


def _enter(parent: int, name: str, *, create: bool) -> int:
    try:
        return os.open(name, _OPEN, dir_fd=parent)
    except (FileNotFoundError, NotADirectoryError) as error:
        if not create:
            raise
        if isinstance(error, NotADirectoryError):
            move_aside(parent, name)
    with suppress(FileExistsError):
        os.mkdir(name, _MODE, dir_fd=parent)
    fd = os.open(name, _OPEN, dir_fd=parent)
    _belong(fd, parent)
    return fd


def move_aside(parent: int, name: str) -> None:
    """Make way for a directory; what is no file of ours is removed."""
    if is_file(parent, name):
        os.rename(name, moved_name(name), src_dir_fd=parent, dst_dir_fd=parent)
    else:
        os.unlink(name, dir_fd=parent)


def is_directory(parent: int, name: str) -> bool:
    """Return whether a directory has this name."""
    return _has_type(parent, name, stat.S_ISDIR)


def is_file(parent: int, name: str) -> bool:
    """Return whether a regular file has this name."""
    return _has_type(parent, name, stat.S_ISREG)


def _has_type(parent: int, name: str, is_type: Callable[[int], bool]) -> bool:
    try:
        return is_type(os.lstat(name, dir_fd=parent).st_mode)
    except FileNotFoundError:
        return False


def _belong(fd: int, parent: int | str) -> None:
    """Let everybody look into a new directory; one that root made is the host's user's."""
    os.fchmod(fd, _MODE)
    if os.geteuid() == 0:
        owner = os.stat(parent)
        os.fchown(fd, owner.st_uid, owner.st_gid)


def _check_names(root: int) -> None:
    """Refuse a file system on which two different keys could be one file."""
    probe = f".tmp-Probe-é-{secrets.token_hex(8)}"
    os.mkdir(probe, dir_fd=root)
    try:
        for other in (probe.lower(), unicodedata.normalize("NFD", probe)):
            with suppress(FileNotFoundError):
                os.lstat(other, dir_fd=root)
                raise NotSupported(
                    "its file system ignores case, or normalises Unicode, so different keys "
                    "could be one file",
                    capability="publish",
                    operation="publish bucket",
                    hint="keep it on one with casesensitivity=sensitive and normalization=none",
                )
    finally:
        os.rmdir(probe, dir_fd=root)
