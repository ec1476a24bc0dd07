"""The file of a fence: a header that all processes map, and a lock on the whole of it."""

from __future__ import annotations

import mmap
import os
import struct
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

from modules.errors import from_oserror

HEADER: Final = struct.Struct("<QQ")  # generation; until when somebody waits, ms since 1970
_NUMBER: Final = struct.Struct("<Q")
_DEADLINE_AT: Final = 8


@contextmanager
def opened(path: str) -> Iterator[int]:
    """Give a descriptor of the fence for as long as the block runs."""
    fd = open_file(path)
    try:
        yield fd
    finally:
        os.close(fd)


def open_file(path: str) -> int:
    """Return a descriptor of the fence, whose header is there; create it when absent."""
    try:
        try:
            fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            _create_file(path)
            fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        try:
            if os.fstat(fd).st_size < HEADER.size:  # a power cut took it back
                os.ftruncate(fd, HEADER.size)
        except BaseException:
            os.close(fd)
            raise
    except OSError as error:
        raise from_oserror(error, operation="open fence", subject=path) from error
    return fd


def _create_file(path: str) -> None:
    """Create a fence that belongs to whom the directory belongs to, from its first moment.

    The one that root creates (an operator's command) must open for the host's user, too.
    """
    directory = os.path.dirname(path)
    fd, aside = tempfile.mkstemp(prefix=".", dir=directory)
    try:
        if os.geteuid() == 0:
            owner = os.stat(directory)
            os.fchown(fd, owner.st_uid, owner.st_gid)
        os.ftruncate(fd, HEADER.size)
        with suppress(FileExistsError):
            os.link(aside, path)
    finally:
        os.close(fd)
        os.unlink(aside)


def set_deadline(fd: int, deadline: float) -> None:
    """Say until when, in seconds since 1970, somebody waits; 0 for nobody."""
    os.pwrite(fd, _NUMBER.pack(int(deadline * 1000)), _DEADLINE_AT)


def deadline_ms(header: bytes | mmap.mmap) -> int:
    """Return until when somebody waits, in milliseconds since 1970; 0 for nobody."""
    (deadline,) = _NUMBER.unpack_from(header, _DEADLINE_AT)
    return int(deadline)


def read_header(fd: int) -> bytes:
    """Return the header."""
    return os.pread(fd, HEADER.size, 0)


def generation(fd: int) -> int:
    """Return how often somebody was alone."""
    (count,) = _NUMBER.unpack(os.pread(fd, _NUMBER.size, 0))
    return int(count)


def count_up(fd: int) -> None:
    """Count the generation up; only with the exclusive lock."""
    os.pwrite(fd, _NUMBER.pack(generation(fd) + 1), 0)
