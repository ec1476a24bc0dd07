"""Tries what the units forbid and prints, in JSON, what came of each; systemd runs it."""

from __future__ import annotations

import ctypes
import errno
import json
import mmap
import os
import socket
import sys
import tempfile
import time
from collections.abc import Callable

_LIBC = ctypes.CDLL(None, use_errno=True)
_CLONE_NEWUSER = 0x10000000


def _called(status: int) -> None:
    if status != 0:
        raise OSError(ctypes.get_errno(), "refused")


def _set_group_id() -> None:
    with tempfile.NamedTemporaryFile(dir="/tmp") as file:
        os.fchmod(file.fileno(), 0o2755)


ATTEMPTS: dict[str, Callable[[], object]] = {
    "the device of zfs": lambda: os.close(os.open("/dev/zfs", os.O_RDWR)),
    "a disk": lambda: os.close(os.open(sys.argv[1], os.O_RDONLY)),
    "network": lambda: socket.socket(socket.AF_INET).close(),
    "a socket of the kernel": lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW).close(),
    "code in memory": lambda: mmap.mmap(-1, 4096, prot=7).close(),
    "a namespace": lambda: _called(_LIBC.unshare(_CLONE_NEWUSER)),
    "mounting": lambda: _called(_LIBC.mount(b"none", b"/mnt", b"tmpfs", 0, None)),
    "another user": lambda: os.setuid(4711),
    "the clock": lambda: time.clock_settime(time.CLOCK_REALTIME, time.time()),
    "a name": lambda: socket.sethostname("sandboxed"),
    "a set-group-id file": _set_group_id,
    "writing to /usr": lambda: os.rmdir(tempfile.mkdtemp(dir="/usr")),
    "a module of the kernel": lambda: _called(_LIBC.delete_module(b"no_module", os.O_NONBLOCK)),
    "rebooting": lambda: _called(_LIBC.reboot(0)),
}


def _outcome(attempt: Callable[[], object]) -> str:
    try:
        attempt()
    except OSError as error:
        return errno.errorcode[error.errno or 0]
    return "done"


if __name__ == "__main__":
    print(json.dumps({name: _outcome(attempt) for name, attempt in ATTEMPTS.items()}))
