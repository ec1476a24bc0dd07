"""From a failed command's exit code and its text in the C locale to the error tree.

Source: OpenZFS, lib/libzfs/libzfs_util.c (libzfs_error_description, zfs_standard_error_fmt) and
libzfs_dataset.c, libzfs_mount.c for what they add.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from modules.errors import (
    AlreadyExists,
    Busy,
    CommandFailed,
    HasDependents,
    InvalidArgument,
    InvalidName,
    NoSpace,
    NotFound,
    NotSupported,
    PermissionDenied,
    StorageError,
    Unavailable,
)

_Make = Callable[[str, str, str], StorageError]


class QuotaBelowUsage(InvalidArgument):
    """A quota was to be set below what is in use."""


def _simple(error_class: type[StorageError], hint: str | None = None) -> _Make:
    def make(reason: str, operation: str, subject: str) -> StorageError:
        return error_class(reason, operation=operation, subject=subject, hint=hint)

    return make


def _permission(reason: str, operation: str, subject: str) -> StorageError:
    verb = operation.split(maxsplit=1)[0]
    permissions = _PERMISSIONS.get(verb, "create,mount,rename,userprop")
    return PermissionDenied(
        reason,
        permission=permissions,
        operation=operation,
        subject=subject,
        hint=f"as root, run `zfs allow USER {permissions} {subject}` (on Linux only root can "
        "mount file systems), or run the server with the rights it needs",
    )


def _no_zfs(reason: str, operation: str, subject: str) -> StorageError:
    return NotSupported(
        reason,
        capability="zfs",
        operation=operation,
        subject=subject,
        hint="install ZFS and load its module (`modprobe zfs`), or use directory= in place of "
        "dataset=",
    )


_PERMISSIONS: Final = {
    "create": "create,mount,quota,recordsize,setuid,exec,devices,atime,xattr,userprop",
    "rename": "rename,create,mount",
    "set": "quota,recordsize,userprop",
    "mount": "mount",
    "list": "mount",
}

_RULES: Final[tuple[tuple[tuple[str, ...], _Make], ...]] = (
    (("zfs: No such file or directory", "zfs: command not found"), _no_zfs),
    (("ZFS modules", "/dev/zfs and /proc/self/mounts are required"), _no_zfs),
    (("already exists", "dataset exists"), _simple(AlreadyExists)),
    (("has children", "has dependent clones"), _simple(HasDependents)),
    (
        ("size is less than current used",),
        _simple(QuotaBelowUsage, "choose a larger size or delete objects first"),
    ),
    (
        ("does not exist", "no such pool", "no datasets available"),
        _simple(NotFound),
    ),
    (
        ("is busy", "Device or resource busy"),
        _simple(Busy, "close what is open in it (see `fuser -vm`), then try again"),
    ),
    (("ermission denied", "must be run as root", "Operation not permitted"), _permission),
    (
        ("out of space", "No space left", "Disk quota exceeded"),
        _simple(NoSpace, "free space in the pool or raise the parent's quota"),
    ),
    (
        ("name is too long", "invalid character", "invalid name", "empty component"),
        _simple(InvalidName),
    ),
    (
        ("I/O is currently suspended", "pool is unavailable", "I/O error"),
        _simple(Unavailable, "look at `zpool status`"),
    ),
    (
        ("invalid property", "invalid quota", "bad numeric value", "must be"),
        _simple(InvalidArgument),
    ),
)


def classify(
    argv: Sequence[str], *, stderr: str, exit_code: int | None, operation: str, subject: str
) -> StorageError:
    """Return the error for a command that failed; CommandFailed when nothing narrower fits."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    reason = lines[0] if lines else "the command failed without a message"
    for texts, make in _RULES:
        if any(text in stderr for text in texts):
            return make(reason, operation, subject)
    return CommandFailed(
        reason,
        argv=argv,
        exit_code=exit_code,
        stderr=stderr,
        operation=operation,
        subject=subject,
    )
