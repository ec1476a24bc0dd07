"""Which server runs on a data directory: asked of the kernel, so the answer cannot be stale."""

from __future__ import annotations

import fcntl
import os
import signal
import struct
from pathlib import Path
from typing import Final

from modules.durable import make_directories
from modules.errors import Conflict, NotFound, from_oserror, translated_oserror

_LOCK_FILE: Final = "server.lock"

# l_type, l_whence, l_start, l_len, l_pid. Source: fcntl(2), struct flock of Linux.
_FLOCK: Final = struct.Struct("hhqqi0q")


def hold_server_lock(data_dir: Path) -> None:
    """Say that this process is the server on *data_dir*, which is created when it is new.

    The kernel releases a record lock with the process, or when the process closes any descriptor
    of the file: the one that is opened here stays open. Children do not inherit the lock.

    From here on a reload does not end this process, even before it knows how to reload.

    Raises:
        Conflict: a server runs there already.
        StorageError: the directory cannot be used.
    """
    handler = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        _lock(data_dir)
    except BaseException:
        signal.signal(signal.SIGHUP, handler)
        raise


def _lock(data_dir: Path) -> None:
    with translated_oserror(operation="prepare data directory", subject=str(data_dir)):
        make_directories(data_dir, mode=0o700)
        fd = os.open(data_dir / _LOCK_FILE, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):  # fcntl(2): EAGAIN or EACCES
        os.close(fd)
        raise Conflict(
            "a server runs there already",
            operation="serve",
            subject=str(data_dir),
            hint="stop it first, or choose another data directory",
        ) from None


def find_server(data_dir: Path) -> int | None:
    """Return the process id of the server that runs on *data_dir*, None when none does.

    Not for the server itself: see ``hold_server_lock`` about closing the file.
    """
    try:
        fd = os.open(data_dir / _LOCK_FILE, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise from_oserror(
            error, operation="look for a server on", subject=str(data_dir)
        ) from error
    try:
        asked = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
        lock_type, _, _, _, process_id = _FLOCK.unpack(fcntl.fcntl(fd, fcntl.F_GETLK, asked))
        return None if lock_type == fcntl.F_UNLCK else int(process_id)
    finally:
        os.close(fd)


def reload_workers(data_dir: Path) -> int:
    """Tell the server on *data_dir* to replace its workers; requests are not cut off.

    Returns:
        The process id of the server.

    Raises:
        NotFound: none runs, or none that this process can see.
        PermissionDenied: it belongs to another user.
    """
    process_id = find_server(data_dir)
    if process_id is None:
        raise _no_server("no server runs on this data folder", data_dir)
    if process_id <= 0:  # in a container whose processes have no number here
        raise _no_server("its server runs in another container", data_dir)
    try:
        os.kill(process_id, signal.SIGHUP)
    except ProcessLookupError:  # it ended just now
        raise _no_server("no server runs on this data folder", data_dir) from None
    except OSError as error:
        raise from_oserror(error, operation="reload workers of", subject=str(data_dir)) from error
    return process_id


def _no_server(reason: str, data_dir: Path) -> NotFound:
    return NotFound(
        reason,
        operation="reload workers of",
        subject=str(data_dir),
        hint="check --data, or start it with `zfsstore serve`",
    )
