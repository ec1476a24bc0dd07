"""The errors every storage module, wrapper and host of this project raises.

    StorageError                 .operation .subject .reason .hint; retryable = False
    ├─ ConfigurationError        .field
    │   └─ ModuleLoadError
    ├─ InvalidArgument           .field
    │   ├─ InvalidName
    │   └─ InvalidModuleData
    ├─ NotFound
    │   ├─ ObjectNotFound
    │   ├─ VolumeNotFound
    │   └─ SnapshotNotFound
    ├─ AlreadyExists
    │   ├─ VolumeExists
    │   └─ SnapshotExists
    ├─ Conflict
    │   ├─ Busy                  retryable
    │   ├─ HasDependents
    │   └─ InProgress
    ├─ PermissionDenied          .permission
    ├─ QuotaExceeded             .limit_bytes .used_bytes
    ├─ NoSpace
    ├─ NotSupported              .capability
    ├─ IntegrityError
    │   ├─ TruncatedStream       .expected_bytes .received_bytes
    │   └─ WrongKey
    ├─ KeyDestroyed
    └─ SubstrateError
        ├─ CommandFailed         .argv .exit_code .stderr
        ├─ CommandTimeout        .argv .timeout_s
        ├─ KeyNotFound
        └─ Unavailable           retryable
            └─ Locked

A caller catches the narrowest class it can handle. What a library below raises (OSError,
sqlalchemy, botocore, subprocess) is translated once, where it enters, with ``raise ... from``.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator, Sequence
from contextlib import contextmanager


class StorageError(Exception):
    """What was attempted, on what, why it failed and what to do about it.

    ``str()`` gives one sentence: ``cannot OPERATION SUBJECT: REASON; HINT``.

    Args:
        reason: why it failed, a clause without a capital or a full stop.
        operation: what was attempted, as a verb phrase ("create volume").
        subject: on what, as the user would name it ("acme/photos").
        hint: what the reader can do about it.
    """

    retryable: bool = False

    def __init__(
        self,
        reason: str,
        *,
        operation: str | None = None,
        subject: str | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.operation = operation
        self.subject = subject
        self.hint = hint

    def __str__(self) -> str:
        attempted = " ".join(part for part in (self.operation, self.subject) if part)
        text = f"cannot {attempted}: {self.reason}" if self.operation else self.reason
        if self.subject and not self.operation:
            text = f"{self.subject}: {self.reason}"
        return f"{text}; {self.hint}" if self.hint else text


class _WithField(StorageError):
    """An error about one named input: an argument, a setting, a JSON member, a header."""

    def __init__(
        self,
        reason: str,
        *,
        field: str | None = None,
        operation: str | None = None,
        subject: str | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(reason, operation=operation, subject=subject, hint=hint)
        self.field = field


class ConfigurationError(_WithField):
    """A setting is missing or wrong; ``field`` names it."""


class ModuleLoadError(ConfigurationError):
    """A storage module could not be found, imported, checked or instantiated."""


class InvalidArgument(_WithField):
    """The caller passed something that can never be right; ``field`` names it."""


class InvalidName(InvalidArgument):
    """A tenant, bucket, key, volume or snapshot name breaks a rule."""


class InvalidModuleData(InvalidArgument):
    """A module_data string that this module cannot have returned."""


class NotFound(StorageError):
    """What was named does not exist."""


class ObjectNotFound(NotFound):
    """No object has this key or module_data."""


class VolumeNotFound(NotFound):
    """No such volume (tenant dataset, bucket, container)."""


class SnapshotNotFound(NotFound):
    """The volume has no snapshot of that name."""


class AlreadyExists(StorageError):
    """What was to be created exists already; nothing was changed."""


class VolumeExists(AlreadyExists):
    """A volume of that name exists already."""


class SnapshotExists(AlreadyExists):
    """The volume has a snapshot of that name already."""


class Conflict(StorageError):
    """The present state does not allow the operation."""


class Busy(Conflict):
    """In use just now; the same call may succeed later."""

    retryable = True


class HasDependents(Conflict):
    """Something else depends on it (clones, users, modules); remove those first."""


class InProgress(Conflict):
    """The same operation is already running."""


class PermissionDenied(StorageError):
    """The caller, or this process, may not; ``permission`` names what is missing."""

    def __init__(
        self,
        reason: str,
        *,
        permission: str | None = None,
        operation: str | None = None,
        subject: str | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(reason, operation=operation, subject=subject, hint=hint)
        self.permission = permission


class QuotaExceeded(StorageError):
    """The volume's quota leaves no room; sizes in bytes, None when the substrate did not say."""

    def __init__(
        self,
        reason: str,
        *,
        limit_bytes: int | None = None,
        used_bytes: int | None = None,
        operation: str | None = None,
        subject: str | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(reason, operation=operation, subject=subject, hint=hint)
        self.limit_bytes = limit_bytes
        self.used_bytes = used_bytes


class NoSpace(StorageError):
    """The pool or file system is full, whoever filled it."""


class NotSupported(StorageError):
    """This module or substrate cannot do it; ``capability`` names what is missing."""

    def __init__(
        self,
        reason: str,
        *,
        capability: str,
        operation: str | None = None,
        subject: str | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(reason, operation=operation, subject=subject, hint=hint)
        self.capability = capability


class IntegrityError(StorageError):
    """Stored or received bytes are not what they must be: bad digest, bad tag, short object."""


class TruncatedStream(IntegrityError):
    """A stream ended before, or went on after, the length that was promised."""

    def __init__(
        self,
        reason: str,
        *,
        expected_bytes: int | None,
        received_bytes: int,
        operation: str | None = None,
        subject: str | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(reason, operation=operation, subject=subject, hint=hint)
        self.expected_bytes = expected_bytes
        self.received_bytes = received_bytes


class WrongKey(IntegrityError):
    """The key at hand is not the one that the data was encrypted with."""


class KeyDestroyed(StorageError):
    """The key was destroyed on purpose: what was encrypted with it is unreadable for good."""


class SubstrateError(StorageError):
    """What lies below (disk, pool, command, service) failed."""


class CommandFailed(SubstrateError):
    """A command ended with a failure that no narrower class describes."""

    def __init__(
        self,
        reason: str,
        *,
        argv: Sequence[str],
        exit_code: int | None = None,
        stderr: str = "",
        operation: str | None = None,
        subject: str | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(reason, operation=operation, subject=subject, hint=hint)
        self.argv = tuple(argv)
        self.exit_code = exit_code
        self.stderr = stderr


class CommandTimeout(SubstrateError):
    """A command did not end in time and was killed."""

    def __init__(
        self,
        reason: str,
        *,
        argv: Sequence[str],
        timeout_s: float,
        operation: str | None = None,
        subject: str | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(reason, operation=operation, subject=subject, hint=hint)
        self.argv = tuple(argv)
        self.timeout_s = timeout_s


class KeyNotFound(SubstrateError):
    """The key that the data was encrypted with is not among those at hand."""


class Unavailable(SubstrateError):
    """Not reachable just now (not mounted, draining, network); retry later."""

    retryable = True


class Locked(Unavailable):
    """The volume is encrypted, and its key is not loaded; an operator has to unlock it."""


def from_oserror(
    error: OSError, *, operation: str, subject: str, not_found: type[NotFound] = ObjectNotFound
) -> StorageError:
    """Return the StorageError for *error*, to be raised ``from`` it.

    Args:
        error: as the operating system gave it.
        operation: what was attempted, as a verb phrase.
        subject: on what, as the user names it; never an absolute path taken from the error.
        not_found: the class for ENOENT and ENOTDIR.

    Source: errno(3); EDQUOT and ENOSPC as measured on OpenZFS 2.3 (docs/operations.md).
    """
    if error.errno == errno.EDQUOT:
        return QuotaExceeded(
            "the quota is used up",
            operation=operation,
            subject=subject,
            hint="delete objects or raise the quota",
        )
    if error.errno == errno.ENOSPC:
        return NoSpace(
            "no space is left",
            operation=operation,
            subject=subject,
            hint="free space in the pool or file system",
        )
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        return not_found("it does not exist", operation=operation, subject=subject)
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return PermissionDenied(
            error.strerror or str(error),
            operation=operation,
            subject=subject,
            hint="check owner, mode and mount options",
        )
    if error.errno == errno.EBUSY:
        return Busy(error.strerror or "busy", operation=operation, subject=subject)
    if error.errno == errno.EIO:
        return IntegrityError(
            "the disk returned an I/O error",
            operation=operation,
            subject=subject,
            hint="run `zpool status -v` or check the kernel log",
        )
    return SubstrateError(error.strerror or str(error), operation=operation, subject=subject)


@contextmanager
def translated_oserror(
    *, operation: str, subject: str, not_found: type[NotFound] = ObjectNotFound
) -> Iterator[None]:
    """Turn any OSError inside the block into the StorageError of :func:`from_oserror`."""
    try:
        yield
    except OSError as error:
        raise from_oserror(
            error, operation=operation, subject=subject, not_found=not_found
        ) from error
