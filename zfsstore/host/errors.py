"""The host's own errors, and the one table that says which HTTP status each error becomes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from modules.errors import (
    AlreadyExists,
    Busy,
    CommandFailed,
    CommandTimeout,
    ConfigurationError,
    Conflict,
    HasDependents,
    InProgress,
    IntegrityError,
    InvalidArgument,
    InvalidModuleData,
    InvalidName,
    KeyDestroyed,
    KeyNotFound,
    Locked,
    ModuleLoadError,
    NoSpace,
    NotFound,
    NotSupported,
    ObjectNotFound,
    PermissionDenied,
    QuotaExceeded,
    SnapshotExists,
    SnapshotNotFound,
    StorageError,
    SubstrateError,
    TruncatedStream,
    Unavailable,
    VolumeExists,
    VolumeNotFound,
    WrongKey,
)
from zfsstore.zfs.errors import (
    Diverged,
    InvalidStream,
    KeyNotLoaded,
    KeyUnavailable,
    QuotaBelowUsage,
    StaleResumeToken,
)


class PreconditionFailed(Conflict):
    """A condition of the request (If-Match and the like) does not hold; nothing was changed."""


class CommitUncertain(Unavailable):
    """The index did not say whether a change is stored: look, then repeat it."""


class CodeChanged(Conflict):
    """A python-path entry holds other code than this process imported from it."""


class ModuleRejected(InvalidArgument):
    """An administrator's module could not be loaded or is not healthy; nothing was changed."""


class Unauthenticated(PermissionDenied):
    """No valid credentials came with the request."""


class AccessDenied(PermissionDenied):
    """The user is known, but may not do this."""


class MethodNotAllowed(NotSupported):
    """The resource has no such method; ``allowed`` lists those it has."""

    def __init__(self, method: str, allowed: tuple[str, ...]) -> None:
        super().__init__(
            f"there is no {method} here",
            capability=method,
            hint=f"use {', '.join(allowed)}",
        )
        self.allowed = allowed


class TooLarge(InvalidArgument):
    """The body is larger than this server accepts."""


class LengthRequired(InvalidArgument):
    """This server cannot tell where the body ends without a Content-Length."""


class UploadStalled(TruncatedStream):
    """The client stopped sending in the middle of an upload; nothing was stored."""


class RangeNotSatisfiable(InvalidArgument):
    """The requested range lies outside the object."""

    def __init__(self, size_bytes: int) -> None:
        super().__init__(
            f"the object has {size_bytes} bytes and the range asks for none of them", field="Range"
        )
        self.size_bytes = size_bytes


HTTP_STATUS: Final[Mapping[type[StorageError], int]] = MappingProxyType(
    {
        StorageError: 500,
        ConfigurationError: 500,  # met while serving; an administrator's mistake is ModuleRejected
        ModuleLoadError: 500,
        InvalidArgument: 400,
        InvalidName: 400,
        InvalidModuleData: 500,  # the host's own record is wrong, never the client's input
        ModuleRejected: 400,
        QuotaBelowUsage: 400,
        TooLarge: 413,
        LengthRequired: 411,
        RangeNotSatisfiable: 416,
        NotFound: 404,
        ObjectNotFound: 404,
        VolumeNotFound: 404,
        SnapshotNotFound: 404,
        AlreadyExists: 409,
        VolumeExists: 409,
        SnapshotExists: 409,
        Conflict: 409,
        Busy: 503,
        HasDependents: 409,
        InProgress: 409,
        PreconditionFailed: 412,
        CodeChanged: 409,
        Diverged: 409,
        KeyNotLoaded: 409,
        StaleResumeToken: 409,
        PermissionDenied: 500,  # the operating system refused the server, not the client
        Unauthenticated: 401,
        AccessDenied: 403,
        QuotaExceeded: 507,
        NoSpace: 507,
        NotSupported: 501,
        MethodNotAllowed: 405,
        IntegrityError: 500,
        TruncatedStream: 400,
        WrongKey: 500,
        KeyDestroyed: 410,
        InvalidStream: 400,
        UploadStalled: 408,
        SubstrateError: 500,
        CommandFailed: 500,
        CommandTimeout: 503,
        KeyNotFound: 500,
        KeyUnavailable: 500,
        Unavailable: 503,
        Locked: 503,
        CommitUncertain: 503,
    }
)
"""Every class has its own row (tests/host/test_errors.py); a vendor's subclass takes its base's."""

_CAPITAL: Final = re.compile(r"(?<=[a-z])(?=[A-Z])")


def http_status(error: StorageError) -> int:
    """Return the HTTP status for *error*, by its nearest class in the table."""
    return HTTP_STATUS[_known_class(error)]


def error_code(error: StorageError) -> str:
    """Return the name clients match on, such as ``quota_exceeded``: the class in snake case."""
    return _CAPITAL.sub("_", _known_class(error).__name__).lower()


def _known_class(error: StorageError) -> type[StorageError]:
    return next(cls for cls in type(error).__mro__ if cls in HTTP_STATUS)
