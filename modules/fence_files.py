"""The file of a fence: a header that all processes map, and a lock on the whole of it."""

from __future__ import annotations

import errno
import mmap
import os
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from modules.errors import from_oserror

HEADER: Final = struct.Struct("<QQ")  # generation; until when somebody waits, ms since 1970
_NUMBER: Final = struct.Struct("<Q")
_DEADLINE_AT: Final = 8
_LOOKS: Final = 5
_LOOK_AGAIN_S: Final = 0.01
_MADV_POPULATE_READ: Final = 22  # Linux 5.14; source: madvise(2)


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
        fd = _open(path)
        try:
            if os.geteuid() == 0:
                _give_to_owner_of_directory(fd, path)
            if os.fstat(fd).st_size < HEADER.size:  # new, or a power cut took it back
                os.ftruncate(fd, HEADER.size)
        except BaseException:
            os.close(fd)
            raise
    except OSError as error:
        raise from_oserror(error, operation="open fence", subject=path) from error
    return fd


def _open(path: str) -> int:
    attempts = _LOOKS
    while True:
        try:
            return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except PermissionError:  # root is creating it, and has not given it away yet
            attempts -= 1
            if not attempts:
                raise
            time.sleep(_LOOK_AGAIN_S)


def _give_to_owner_of_directory(fd: int, path: str) -> None:
    """A fence that root creates (an operator's command) must open for the host's user, too."""
    owner, present = os.stat(os.path.dirname(path)), os.fstat(fd)
    if (owner.st_uid, owner.st_gid) != (present.st_uid, present.st_gid):
        os.fchown(fd, owner.st_uid, owner.st_gid)


def set_deadline(fd: int, deadline: float) -> None:
    """Say until when, in seconds since 1970, somebody waits; 0 for nobody."""
    os.pwrite(fd, _NUMBER.pack(int(deadline * 1000)), _DEADLINE_AT)


def have_in_memory(mapped: mmap.mmap, fd: int, path: str) -> None:
    """Get the mapped header into memory: where no page can be had, reading it is a SIGBUS.

    There is none for a hole in a full file system in memory, or where the disk returns errors.

    Raises:
        NoSpace, IntegrityError: it cannot be had.
    """
    try:
        mapped.madvise(_MADV_POPULATE_READ)
    except OSError as error:
        if error.errno == errno.EINVAL:  # an older kernel
            return
        try:
            os.pread(fd, HEADER.size, 0)  # a disk's error is one here, too
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from error
        except OSError as reason:
            raise from_oserror(reason, operation="open fence", subject=path) from reason


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
