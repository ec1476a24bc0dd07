"""Errors by what OpenZFS 2.3.2 printed in the C locale (2.1.11 holds the same texts)."""

from __future__ import annotations

import pytest

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
from zfsstore.zfs.classification import classify
from zfsstore.zfs.errors import (
    Diverged,
    InvalidStream,
    KeyNotLoaded,
    QuotaBelowUsage,
    StaleResumeToken,
)

TEXTS: list[tuple[str, str, type[StorageError]]] = [
    ("snapshot", "cannot create snapshot 't/a@1': dataset already exists", SnapshotExists),
    ("snapshot", "cannot create snapshots : out of space", NoSpace),
    (
        "snapshot",
        "cannot create snapshots : multiple snapshots of same fs not allowed",
        InvalidArgument,
    ),
    ("snapshot", "cannot open 't/b': dataset does not exist\nusage:\n\tsnapshot", NotFound),
    ("hold", "cannot hold snapshot 't/a@1': tag already exists on this dataset", SnapshotExists),
    ("hold", "cannot hold snapshot 't/a@1': dataset does not exist", SnapshotNotFound),
    ("hold", "tag may not start with '.'\nusage:\n\thold [-r] <tag> <snapshot>", InvalidName),
    (
        "release",
        "cannot release hold from snapshot 't/a@1': no such tag on this dataset",
        SnapshotNotFound,
    ),
    (
        "destroy",
        "cannot destroy snapshot t/a@1: it's being held. Run 'zfs holds -r t/a@1' to see holders.",
        Busy,
    ),
    (
        "destroy",
        "cannot destroy 't/a': filesystem has children\nuse '-r' to destroy the following",
        HasDependents,
    ),
    ("destroy", "cannot destroy 't/a@1': snapshot has dependent clones\nuse '-R'", HasDependents),
    (
        "destroy",
        "could not find any snapshots to destroy; check snapshot names.",
        NotFound,
    ),
    ("destroy", "cannot unmount '/t/a': pool or dataset is busy", Busy),
    ("clone", "cannot create 't/c': dataset already exists", AlreadyExists),
    ("clone", "cannot create 't/no/d': parent does not exist", NotFound),
    ("promote", "cannot promote 't/a': not a cloned filesystem", InvalidArgument),
    ("promote", "cannot promote 't/c': conflicting snapshot 's1' from parent 't/a'", AlreadyExists),
    (
        "rollback",
        "cannot rollback to 't/a@1': more recent snapshots or bookmarks exist\nuse '-r'",
        HasDependents,
    ),
    (
        "rollback",
        "cannot rollback to 't/a@1': clones of previous snapshots exist\nuse '-R'",
        HasDependents,
    ),
    ("rename", "cannot rename to 'q/c': datasets must be within same pool", InvalidArgument),
    (
        "bookmark",
        "cannot open 't/a#b1': no such pool or dataset\nusage:\n\tbookmark <snapshot|bookmark>",
        NotFound,
    ),
    ("diff", "Unable to obtain diffs: No such file or directory", NotFound),
    (
        "diff",
        "Unable to obtain diffs: \n   Not an earlier snapshot from the same fs",
        InvalidArgument,
    ),
    (
        "diff",
        "Cannot diff an unmounted snapshot: operation not applicable to datasets of this type",
        Conflict,
    ),
    (
        "diff",
        "The diff delegated permission is needed in order\nto create a just-in-time snapshot",
        PermissionDenied,
    ),
    (
        "send",
        "warning: cannot send 't/a@1': not an earlier snapshot from the same fs",
        InvalidArgument,
    ),
    ("send", "warning: cannot send 't/a@2': No such process", SnapshotNotFound),
    ("send", "warning: cannot send 't/e@1': dataset key must be loaded", KeyNotLoaded),
    ("send", "cannot resume send: resume token is corrupt (invalid format)", StaleResumeToken),
    (
        "send",
        "cannot resume send: 't/a@4' used in the initial send no longer exists",
        StaleResumeToken,
    ),
    (
        "send",
        "cannot resume send: 't/a@4' is no longer the same snapshot used in the initial send",
        StaleResumeToken,
    ),
    (
        "receive",
        "cannot receive new filesystem stream: destination 't/r' exists\nmust specify -F to "
        "overwrite it",
        AlreadyExists,
    ),
    (
        "receive",
        "cannot receive new filesystem stream: destination has snapshots (eg. t/r@s1)\n"
        "must destroy them to overwrite it",
        HasDependents,
    ),
    (
        "receive",
        "cannot open 't/no': dataset does not exist\ncannot receive new filesystem stream: unable "
        "to restore to destination",
        NotFound,
    ),
    (
        "receive",
        "cannot receive incremental stream: most recent snapshot of t/p does not\n"
        "match incremental source",
        Diverged,
    ),
    (
        "receive",
        "cannot receive incremental stream: destination t/r has been modified\n"
        "since most recent snapshot",
        Diverged,
    ),
    ("receive", "'t/r' does not have any resumable receive state to abort", NotFound),
    ("receive", "cannot receive: failed to read from stream", InvalidStream),
    ("receive", "cannot receive: invalid stream (bad magic number)", InvalidStream),
    ("receive", "cannot receive new filesystem stream: incomplete stream", InvalidStream),
    (
        "receive",
        "cannot receive new filesystem stream: checksum mismatch or incomplete stream.\n"
        "Partially received snapshot is saved.",
        InvalidStream,
    ),
    (
        "receive",
        "cannot receive new filesystem stream: destination t/q contains partially-complete state "
        'from "zfs receive -s".',
        Conflict,
    ),
    (
        "receive",
        "cannot receive new filesystem stream: destination t/q space quota exceeded.",
        QuotaExceeded,
    ),
    ("receive", "cannot receive new filesystem stream: out of space", NoSpace),
    ("receive", "cannot receive incremental stream: inherited key must be loaded", KeyNotLoaded),
    ("mount", "cannot mount 't/e': encryption key not loaded", KeyNotLoaded),
    (
        "create",
        "cannot create 't/e/n': encryption root's key is not loaded or provided",
        KeyNotLoaded,
    ),
    (
        "create",
        "cannot mount '/t/q/x': failed to create mountpoint: Disk quota exceeded\n"
        "filesystem successfully created, but not mounted",
        QuotaExceeded,
    ),
    (
        "create",
        "filesystem successfully created, but it may only be mounted by root",
        PermissionDenied,
    ),
    ("create", "cannot create 't/e3': Passphrase too short (min 8).", InvalidArgument),
    ("create", "cannot create 't/z': invalid property 'nosuch'", InvalidArgument),
    ("create", "cannot create 'q/a': no such pool 'q'", NotFound),
    ("load-key", "Key load error: Incorrect key provided for 't/e'.", InvalidArgument),
    ("load-key", "Key load error: 't/a' is not encrypted.", InvalidArgument),
    ("load-key", "Key load error: Permission denied.", PermissionDenied),
    (
        "load-key",
        "Key load error: Keys must be loaded for encryption root of 't/e/k' (t/e).",
        KeyNotLoaded,
    ),
    ("unload-key", "Key unload error: 't/e' is busy.", Busy),
    (
        "set",
        "cannot set property for 't/a': size is less than current used or reserved space",
        QuotaBelowUsage,
    ),
    ("set", "cannot set property for 't/a': 'used' is readonly", InvalidArgument),
    ("set", "cannot set property for 't/a': bad numeric value 'abc'", InvalidArgument),
    (
        "set",
        "cannot set property for 't/a': 'recordsize' must be power of 2 from 512B to 16M",
        InvalidArgument,
    ),
    ("inherit", "'quota' property cannot be inherited\nuse 'zfs set quota=none'", InvalidArgument),
    ("share", "cannot share 't/a': legacy share\nuse exports(5) or smb.conf(5)", InvalidArgument),
    ("allow", "Usage: \tallow <fs>\n\nzfs: error: invalid user/group nouser", InvalidArgument),
    ("list", "bad property list: invalid property 'x'\nusage:\n\tlist\n", InvalidArgument),
    ("scrub", "cannot scrub t: pool I/O is currently suspended", Unavailable),
    ("scrub", "cannot cancel scrubbing tp: there is no active scrub", NotFound),
    ("scrub", "cannot scrub t: currently scrubbing; use 'zpool scrub -s' to cancel", Busy),
    ("list", "sudo: a password is required", PermissionDenied),
    ("list", "zfs: Argument list too long", InvalidArgument),
    ("list", "/dev/zfs and /proc/self/mounts are required.", NotSupported),
    ("list", "internal error: Invalid exchange", CommandFailed),
]


@pytest.mark.parametrize(
    ("verb", "stderr", "expected"), TEXTS, ids=[text for _v, text, _e in TEXTS]
)
def test_errors_by_their_text(verb: str, stderr: str, expected: type[StorageError]) -> None:
    error = classify(["zfs", verb, "t"], stderr=stderr, exit_code=1, operation=verb, subject="t/a")
    assert type(error) is expected
    assert error.reason in stderr
    assert "\n" not in error.reason


def test_what_stands_in_quotation_marks_is_a_name() -> None:
    stderr = "cannot open 't/is busy permission denied': dataset does not exist"
    error = classify(["zfs"], stderr=stderr, exit_code=1, operation="open", subject="it")
    assert type(error) is NotFound


def test_permission_names_the_zfs_allow_that_grants_it() -> None:
    argv = ["zfs", "clone", "-o", "quota=5", "t/a@1", "t/b"]
    error = classify(
        argv,
        stderr="cannot create 't/b': permission denied",
        exit_code=1,
        operation="clone snapshot",
        subject="t/a@1 to t/b",
    )
    assert isinstance(error, PermissionDenied)
    assert error.permission == "clone,create,mount,quota"
    assert "zfs allow USER clone,create,mount,quota t/a`" in str(error)


def test_what_cannot_be_delegated_says_so() -> None:
    error = classify(
        ["zpool", "scrub", "t"],
        stderr="cannot scrub t: permission denied",
        exit_code=1,
        operation="scrub pool",
        subject="t",
    )
    assert "only root may" in str(error)


def test_a_command_killed_by_a_signal_says_so() -> None:
    error = classify(["zfs", "list"], stderr="", exit_code=-9, operation="list", subject="t")
    assert type(error) is CommandFailed
    assert "signal 9" in str(error)
