"""Mounting below a root whose directories belong to the host's user.

That user may put a symbolic link where the next volume will be mounted, at any moment; mount(8)
and zfs(8) would follow it, and mount over /etc. So each directory on the way is opened without
following links and proven to be the root of the dataset it must be, and mount(2) is given the
descriptor of the directory itself. Everything is mounted nosuid, nodev, noexec.

Source: mount(2), umount2(2), proc(5) on mountinfo and fdinfo; OpenZFS,
lib/libzfs/os/linux/libzfs_mount_os.c (do_mount) for the option ``mntpoint``.
"""

from __future__ import annotations

import ctypes
import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

MS_RDONLY: Final = 1
MS_NOSUID: Final = 2
MS_NODEV: Final = 4
MS_NOEXEC: Final = 8
MNT_FORCE: Final = 1
UMOUNT_NOFOLLOW: Final = 8

_ON_THE_WAY: Final = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_ESCAPE: Final = re.compile(r"\\([0-7]{3})")


class NotMountable(Exception):
    """Why a dataset cannot be mounted where it belongs."""


@dataclass(frozen=True, slots=True)
class MountedRoot:
    """A root dataset and where it is mounted."""

    dataset: str
    path: str


@dataclass(frozen=True, slots=True)
class MountEntry:
    """One line of mountinfo: *source* is mounted, wholly, on *path*."""

    mount_id: int
    path: str
    kind: str
    source: str
    is_whole: bool


def read_mounts() -> list[MountEntry]:
    """Return what is mounted in this mount namespace, in the order of mounting."""
    text = Path("/proc/self/mountinfo").read_text(errors="surrogateescape")
    return [_entry(line) for line in text.splitlines()]


def mounted_tree(dataset: str) -> list[MountEntry]:
    """Return the mounts of a dataset and of those below it, outer ones first."""
    return [
        entry
        for entry in read_mounts()
        if entry.kind == "zfs"
        and entry.is_whole
        and (entry.source == dataset or entry.source.startswith(f"{dataset}/"))
        and "@" not in entry.source
    ]


def mounted_snapshots(dataset: str) -> list[MountEntry]:
    """Return the mounts of the snapshots of a dataset and of those below it.

    The kernel mounts a snapshot that is read below .zfs in its first mount namespace, and marks it
    in that of the reader as one that goes with its file system. Where those two differ, it keeps
    the file system busy here. Source: OpenZFS, module/os/linux/zfs/zfs_ctldir.c
    (zfsctl_snapshot_mount, MNT_SHRINKABLE).
    """
    return [
        entry
        for entry in read_mounts()
        if entry.kind == "zfs" and entry.source.startswith((f"{dataset}@", f"{dataset}/"))
        if "@" in entry.source
    ]


def mount(root: MountedRoot, dataset: str, *, read_only: bool = False) -> bool:
    """Mount *dataset* at its place below *root*; return False when it is there already.

    Raises:
        NotMountable: a symbolic link, or something else, is in the way.
        OSError: as mount(2) gave it.
    """
    component = dataset.rpartition("/")[2]
    with _opened_parent(root, dataset) as parent:
        with suppress(FileExistsError):
            os.mkdir(component, 0o755, dir_fd=parent)
        with _opened(component, parent) as fd:
            present = _mount_of(fd)
            if present.source == dataset and present.is_whole:
                return False
            if present.mount_id != _mount_of(parent).mount_id:
                raise NotMountable(f"{present.source} is mounted at its place")
            flags = MS_NOSUID | MS_NODEV | MS_NOEXEC | (MS_RDONLY if read_only else 0)
            path = f"{root.path}{dataset[len(root.dataset) :]}"
            _mount(dataset, f"/proc/self/fd/{fd}", flags, f"mntpoint={path}")
    return True


def unmount(entry: MountEntry, *, force: bool = False) -> None:
    """Unmount what *entry* says. Its path cannot be diverted: mount points cannot be renamed.

    Raises:
        OSError: as umount2(2) gave it.
    """
    flags = UMOUNT_NOFOLLOW | (MNT_FORCE if force else 0)
    if _libc().umount2(os.fsencode(entry.path), flags) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def give(root: MountedRoot, dataset: str, uid: int, gid: int) -> None:
    """Give the root directory of a mounted dataset to its user, durably, if it is root's.

    Raises:
        NotMountable: what is at its place is not the dataset.
        OSError: as the file system gave it.
    """
    with _opened_parent(root, dataset) as parent:
        component = dataset.rpartition("/")[2]
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(component, flags, dir_fd=parent)
        try:
            _require(fd, dataset)
            if os.fstat(fd).st_uid == 0 != uid:
                os.fchown(fd, uid, gid)
                os.fsync(fd)
        finally:
            os.close(fd)


def remove_place(root: MountedRoot, dataset: str) -> None:
    """Remove the empty directory that a dataset was mounted on, if it is there."""
    with suppress(OSError, NotMountable), _opened_parent(root, dataset) as parent:
        os.rmdir(dataset.rpartition("/")[2], dir_fd=parent)


@contextmanager
def _opened_parent(root: MountedRoot, dataset: str) -> Iterator[int]:
    """Give a descriptor of the root directory of the dataset above *dataset*, proven to be it."""
    fd = os.open(root.path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        name = root.dataset
        _require(fd, name)
        for component in dataset[len(root.dataset) + 1 :].split("/")[:-1]:
            name = f"{name}/{component}"
            with _opened(component, fd) as inner:
                _require(inner, name)
                os.dup2(inner, fd, inheritable=False)
        yield fd
    finally:
        os.close(fd)


@contextmanager
def _opened(component: str, parent: int) -> Iterator[int]:
    try:
        fd = os.open(component, _ON_THE_WAY, dir_fd=parent)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENOTDIR):
            raise NotMountable(f"{component} is no directory but a link or a file") from error
        raise
    try:
        yield fd
    finally:
        os.close(fd)


def _require(fd: int, dataset: str) -> None:
    present = _mount_of(fd)
    at = os.readlink(f"/proc/self/fd/{fd}")
    if present.source != dataset or not present.is_whole or present.path != at:
        raise NotMountable(f"{dataset} is not mounted at {at}")


def _mount_of(fd: int) -> MountEntry:
    """Return the mount that a descriptor is in."""
    fdinfo = Path(f"/proc/self/fdinfo/{fd}").read_text()
    match = re.search(r"^mnt_id:\s*([0-9]+)$", fdinfo, re.MULTILINE)
    wanted = int(match[1]) if match is not None else -1
    for entry in read_mounts():
        if entry.mount_id == wanted:
            return entry
    raise NotMountable("the directory is in no mount that can be seen")


def _entry(line: str) -> MountEntry:
    before, _, after = line.partition(" - ")
    mount_id, _parent, _device, inner, path = before.split(" ")[:5]
    kind, source = after.split(" ")[:2]
    return MountEntry(int(mount_id), _unescaped(path), kind, _unescaped(source), inner == "/")


def _unescaped(text: str) -> str:
    return _ESCAPE.sub(lambda match: chr(int(match[1], 8)), text)


def _mount(source: str, target: str, flags: int, data: str) -> None:
    done = _libc().mount(source.encode(), target.encode(), b"zfs", flags, os.fsencode(data))
    if done != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def _libc() -> ctypes.CDLL:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mount.argtypes = [ctypes.c_char_p] * 3 + [ctypes.c_ulong, ctypes.c_char_p]
    libc.umount2.argtypes = [ctypes.c_char_p, ctypes.c_int]
    return libc
