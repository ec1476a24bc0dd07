"""From a failed command's exit code and its text in the C locale to the error tree.

The first rule that fits counts. What stands between quotation marks is a name, and is not looked
at. The texts are those of OpenZFS 2.1 and 2.3, which word these alike.

Source: OpenZFS, lib/libzfs/libzfs_util.c (libzfs_error_description, zfs_standard_error_fmt);
libzfs_dataset.c, libzfs_mount.c, libzfs_sendrecv.c, libzfs_crypto.c and cmd/zfs/zfs_main.c for
what they add.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Final

from modules.errors import (
    AlreadyExists,
    Busy,
    CommandFailed,
    Conflict,
    HasDependents,
    InvalidArgument,
    InvalidName,
    NoSpace,
    NotFound,
    NotSupported,
    PermissionDenied,
    QuotaExceeded,
    SnapshotExists,
    SnapshotNotFound,
    StorageError,
    Unavailable,
)
from zfsstore.zfs.delegation import needed_permissions
from zfsstore.zfs.errors import (
    Diverged,
    InvalidStream,
    KeyNotLoaded,
    QuotaBelowUsage,
    StaleResumeToken,
)
from zfsstore.zfs.messages import Said

_Make = Callable[[str, str, str], StorageError]


def _simple(error_class: type[StorageError], hint: str | None = None) -> _Make:
    def make(reason: str, operation: str, subject: str) -> StorageError:
        return error_class(reason, operation=operation, subject=subject, hint=hint)

    return make


def _no_zfs(reason: str, operation: str, subject: str) -> StorageError:
    return NotSupported(
        reason,
        capability="zfs",
        operation=operation,
        subject=subject,
        hint="install ZFS and load its module (`modprobe zfs`), or use directory= in place of "
        "dataset=",
    )


def _not_supported(reason: str, operation: str, subject: str) -> StorageError:
    return NotSupported(reason, capability="zfs feature", operation=operation, subject=subject)


_POOL_HINT: Final = "look at `zpool status -x`"
_KEY: Final = _simple(KeyNotLoaded, "load its key (`zfs load-key`) first")
_STALE: Final = _simple(
    StaleResumeToken, "abort the partial receive (`zfs receive -A`), then send from the start"
)

_RULES: Final[tuple[tuple[tuple[str, ...], _Make], ...]] = (
    (
        (
            "zfs: No such file or directory",
            "zpool: No such file or directory",
            "zfs: command not found",
            "zpool: command not found",
            "ZFS modules",
            "/dev/zfs and /proc/self/mounts are required",
        ),
        _no_zfs,
    ),
    (
        ("I/O is currently suspended", "pool is unavailable", "currently unavailable"),
        _simple(Unavailable, _POOL_HINT),
    ),
    (
        (
            "resume token is corrupt",
            "used in the initial send no longer exists",
            "no longer the same snapshot used",
            "dataset to be sent no longer exists",
            "incremental source 0x",
            "resume token does not match",
        ),
        _STALE,
    ),
    (
        ("contains partially-complete state",),
        _simple(Conflict, "send the rest (`zfs send -t`), or give it up (`zfs receive -A`)"),
    ),
    (
        (
            "key not loaded",
            "key is not loaded",
            "key must be loaded",
            "Key must be loaded",
            "Keys must be loaded",
        ),
        _KEY,
    ),
    (
        (
            "Incorrect key provided",
            "Key load error",
            "Passphrase too",
            "ey too short",
            "ey too long",
        ),
        _simple(InvalidArgument, "is it the key of this dataset?"),
    ),
    (("Cannot diff an unmounted",), _simple(Conflict, "mount the dataset first")),
    (
        (
            "has been modified",
            "does not match incremental source",
            "most recent snapshot of",
        ),
        _simple(Diverged, "roll it back to a common snapshot, or receive into a new dataset"),
    ),
    (
        (
            "invalid backup stream",
            "invalid stream",
            "incomplete stream",
            "checksum mismatch",
            "failed to read from stream",
            "invalid record type",
        ),
        _simple(InvalidStream, "send it again"),
    ),
    (("space quota exceeded", "Disk quota exceeded"), _simple(QuotaExceeded, "raise the quota")),
    (
        ("more recent snapshots or bookmarks exist", "clones of previous snapshots exist"),
        _simple(HasDependents, "ask for the newer ones to be destroyed, too"),
    ),
    (
        ("has children", "has dependent clones", "snapshot is cloned", "has snapshots"),
        _simple(HasDependents, "destroy its snapshots, children and clones first, or ask for that"),
    ),
    (
        (
            "already exists",
            "dataset exists",
            "bookmark exists",
            "conflicting snapshot",
            "already has a snapshot with the new name",
            "destination '' exists",
        ),
        _simple(AlreadyExists),
    ),
    (
        ("size is less than current used",),
        _simple(QuotaBelowUsage, "choose a larger size or delete objects first"),
    ),
    (
        (
            "does not exist",
            "could not find any snapshots to destroy",
            "Unable to obtain diffs: No such file",
            "no such pool",
            "no such tag",
            "there is no active scrub",
            "No such process",  # of a bookmark to send from
            "no datasets available",
            "any resumable receive state",
        ),
        _simple(NotFound),
    ),
    (("being held",), _simple(Busy, "release its holds first (see `zfs holds`)")),
    (
        ("is busy", "Device or resource busy", "currently scrubbing", "currently resilvering"),
        _simple(
            Busy,
            "close what is open in it (`fuser -vm`), release its holds (`zfs holds`), try again",
        ),
    ),
    (
        ("out of space", "No space left"),
        _simple(NoSpace, "free space in the pool or raise the parent's quota"),
    ),
    (
        (
            "name is too long",
            "tag too long",
            "invalid character",
            "invalid name",
            "empty component",
            "self reference",
            "parent reference",
            "tag may not start",
        ),
        _simple(InvalidName),
    ),
    (("I/O error",), _simple(Unavailable, _POOL_HINT)),
    (
        ("unsupported version", "operation not supported", "pool must be upgraded"),
        _not_supported,
    ),
    (
        (
            "invalid property",
            "invalid quota",
            "invalid option",
            "invalid user",
            "invalid group",
            "invalid permission",
            "bad numeric value",
            "not a cloned filesystem",
            "not applicable to datasets of this type",
            "multiple snapshots of same fs",
            "crosses datasets or pools",
            "ot an earlier snapshot",
            "cannot be inherited",
            "is readonly",
            "legacy share",
            "Argument list too long",
            "must be",
        ),
        _simple(InvalidArgument),
    ),
)


def classify(
    argv: Sequence[str], *, stderr: str, exit_code: int | None, operation: str, subject: str
) -> StorageError:
    """Return the error for a command that failed; CommandFailed when nothing narrower fits."""
    said = Said(stderr, exit_code)
    reason, text = said.reason, said.text
    if any(sign in text for sign in _DENIED):
        return _permission(argv, reason, operation, subject)
    for signs, make in _RULES:
        if any(sign in text for sign in signs):
            return _narrowed(make(reason, operation, subject), stderr)
    return CommandFailed(
        reason,
        argv=argv,
        exit_code=exit_code,
        stderr=stderr,
        operation=operation,
        subject=subject,
    )


_OF_SNAPSHOTS: Final[dict[type[StorageError], type[StorageError]]] = {
    NotFound: SnapshotNotFound,
    AlreadyExists: SnapshotExists,
}
_DENIED: Final = (
    "ermission denied",
    "must be run as root",
    "may only be mounted by root",
    "delegated permission is needed",
    "Operation not permitted",
    "a password is required",  # sudo -n
    "is not in the sudoers file",
)


def _permission(argv: Sequence[str], reason: str, operation: str, subject: str) -> PermissionDenied:
    permissions = needed_permissions(argv)
    dataset = re.split("[@# ]", subject, maxsplit=1)[0]
    hint = f"as root, run `zfs allow USER {permissions} {dataset}` (on Linux only root can mount "
    hint += "file systems), or run the server with the rights it needs"
    return PermissionDenied(
        reason,
        permission=permissions,
        operation=operation,
        subject=subject,
        hint=hint if permissions else "only root may, it cannot be delegated",
    )


def _narrowed(error: StorageError, stderr: str) -> StorageError:
    """Return the narrower error when the text names a snapshot."""
    is_snapshot = re.search(r"'[^'\n]*@[^'\n]*'", stderr) is not None
    narrower = _OF_SNAPSHOTS.get(type(error)) if is_snapshot else None
    if narrower is None:
        return error
    return narrower(error.reason, operation=error.operation, subject=error.subject, hint=error.hint)
