"""An NFS 4.2 server of the kernel, for the time of a test, and mounts from it on 127.0.0.1.

Only where nobody else's server can be disturbed: in the virtual machine of tools/zfs-vm.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.zfs.datasets import run
from zfsstore.zfs.runner import LocalRunner

_LEASES = Path("/proc/sys/fs/leases-enable")

UNCACHED = "vers=4.2,actimeo=0,lookupcache=none"
"""Every look at a file asks the server."""


def is_possible() -> bool:
    return os.environ.get("ZFS_VM") == "1"


@contextmanager
def delegations(*, allowed: bool) -> Iterator[None]:
    """Let the server promise to clients that nobody else writes to what they read, or not.

    Such a promise holds a file open on the server after the client closed it.
    """
    before = _LEASES.read_text()
    _LEASES.write_text("1\n" if allowed else "0\n")
    try:
        yield
    finally:
        _LEASES.write_text(before)


@contextmanager
def serving() -> Iterator[None]:
    """Run the kernel's server, without rpcbind: version 4 only."""
    run("modprobe", "nfsd")
    LocalRunner()(["mount", "-t", "nfsd", "nfsd", "/proc/fs/nfsd"])  # or it is mounted
    for directory in ("/run/rpcbind", "/var/lib/nfs/v4recovery", "/etc/exports.d"):
        os.makedirs(directory, exist_ok=True)
    for table in ("etab", "rmtab"):
        Path("/var/lib/nfs", table).touch()
    mountd = subprocess.Popen(["/usr/sbin/rpc.mountd", "-F", "-N", "3"])
    try:
        run("rpc.nfsd", "-N", "3", "-V", "4.2", "4")
        Path("/proc/fs/nfsd/v4_end_grace").write_text("Y\n")
        yield
    finally:
        LocalRunner()(["rpc.nfsd", "0"])
        mountd.terminate()
        mountd.wait(30)


@contextmanager
def mounted(path: str, on: Path) -> Iterator[Path]:
    """Mount an exported path as a client does."""
    on.mkdir(exist_ok=True)
    run("mount", "-t", "nfs4", "-o", UNCACHED, f"127.0.0.1:{path}", str(on))
    try:
        yield on
    finally:
        run("umount", str(on))


@contextmanager
def directory_handle(path: Path) -> Iterator[int]:
    """Hold a directory open: the client keeps its handle, the server keeps nothing."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield fd
    finally:
        os.close(fd)


def read_at(fd: int, name: str) -> str:
    """Read a file below a directory that is held open."""
    file = os.open(name, os.O_RDONLY, dir_fd=fd)
    try:
        return os.read(file, 4096).decode()
    finally:
        os.close(file)
