"""A tree of files elsewhere on this machine, as keys. No link in it is followed."""

from __future__ import annotations

import mimetypes
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from modules.errors import InvalidArgument, InvalidName, from_oserror, translated_oserror
from zfsstore.host.namespace.names import encode_key
from zfsstore.host.namespace.records import parse_time
from zfsstore.viewfiles import directory

Problem = Callable[[str, str], None]
"""``problem(path, reason)``: what was left out, and why."""

_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_FILE: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_KINDS: Final = (
    (stat.S_ISLNK, "a symbolic link"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISCHR, "a device"),
)
_ENCODED_TYPES: Final = {
    "gzip": "application/gzip",
    "bzip2": "application/x-bzip2",
    "xz": "application/x-xz",
    "compress": "application/x-compress",
    "br": "application/x-brotli",
}


@dataclass(frozen=True, slots=True)
class TreeFile:
    """A regular file, as it was seen."""

    names: tuple[str, ...]
    size_bytes: int
    mtime_ns: int

    @property
    def key(self) -> str:
        return "/".join(self.names)

    @property
    def modified_at(self) -> datetime | None:
        """Its time in microseconds, as objects have it; None for one that no calendar has."""
        try:
            return parse_time(self.mtime_ns // 1000)
        except (OverflowError, ValueError, OSError):
            return None

    @property
    def content_type(self) -> str | None:
        """What its name says it holds."""
        kind, encoding = mimetypes.guess_type(self.names[-1], strict=False)
        return kind if encoding is None else _ENCODED_TYPES.get(encoding)


@dataclass(frozen=True, slots=True)
class EmptyDirectory:
    """A directory with nothing in it that can be taken in."""

    names: tuple[str, ...]

    @property
    def key(self) -> str:
        return "/".join(self.names) + "/"


class Tree:
    """The files below a directory.

    Raises:
        NotFound, PermissionDenied: it cannot be opened.
        InvalidArgument: it is no directory.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._root = os.open(path, _DIRECTORY)
        except NotADirectoryError as error:
            raise InvalidArgument(
                f"{path} is no directory", field="directory", operation="adopt files"
            ) from error
        except OSError as error:
            raise from_oserror(error, operation="adopt files of", subject=str(path)) from error

    def close(self) -> None:
        """Close the directory."""
        os.close(self._root)

    def walk(self, problem: Problem) -> Iterator[TreeFile | EmptyDirectory]:
        """Yield what can be taken in, each directory's files in the order of their names."""
        pending: list[tuple[str, ...]] = [()]
        while pending:
            names = pending.pop()
            try:
                files, directories = self._list(names, problem)
            except OSError as error:
                problem("/".join(names), error.strerror or str(error))
                continue
            yield from files
            pending += reversed(directories)
            if names and not files and not directories:
                yield EmptyDirectory(names)

    @contextmanager
    def open(self, file: TreeFile) -> Iterator[int]:
        """Give a descriptor of a file, at its start.

        Raises:
            StorageError: it cannot be read.
            InvalidArgument: it is no regular file any more.
        """
        with (
            translated_oserror(operation="adopt", subject=file.key),
            directory(self._root, file.names[:-1]) as parent,
        ):
            fd = os.open(file.names[-1], _FILE, dir_fd=parent)
        try:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                raise InvalidArgument("it is no regular file any more", operation="adopt")
            yield fd
        finally:
            os.close(fd)

    def _list(
        self, names: tuple[str, ...], problem: Problem
    ) -> tuple[list[TreeFile], list[tuple[str, ...]]]:
        files: list[TreeFile] = []
        directories: list[tuple[str, ...]] = []
        with directory(self._root, names) as fd:
            for name in sorted(os.listdir(fd)):
                path = (*names, name)
                try:
                    status = os.lstat(name, dir_fd=fd)
                    if name == ".zfsstore" and stat.S_ISDIR(status.st_mode):
                        raise _LeftOutError("it belongs to a volume of a store")
                    if stat.S_ISDIR(status.st_mode):
                        _check_key("/".join(path) + "/")
                        directories.append(path)
                    else:
                        _check_kind(status.st_mode)
                        _check_key("/".join(path))
                        files.append(TreeFile(path, status.st_size, status.st_mtime_ns))
                except (OSError, _LeftOutError) as error:
                    problem("/".join(path), getattr(error, "strerror", None) or str(error))
        return files, directories


class _LeftOutError(Exception):
    """Why something cannot be taken in."""


def _check_kind(mode: int) -> None:
    if not stat.S_ISREG(mode):
        kind = next((kind for is_kind, kind in _KINDS if is_kind(mode)), "no regular file")
        raise _LeftOutError(f"it is {kind}")


def _check_key(key: str) -> None:
    try:
        encode_key(key)
    except InvalidName as error:
        raise _LeftOutError(error.reason) from error
