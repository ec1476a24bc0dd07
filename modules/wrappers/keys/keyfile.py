"""Key files: root keys, or a token, in a file that only its owner may use."""

from __future__ import annotations

import os
import secrets
import stat
from contextlib import suppress
from typing import Final

from modules.durable import TEMPORARY_PREFIX, fsync_directory
from modules.errors import AlreadyExists, ConfigurationError, PermissionDenied, from_oserror
from modules.wrappers.keys.local import decoded, parse_root_keys

_MAX_TEXT_BYTES: Final = 1 << 20


def read_key_file(path: str) -> str:
    """Return the text of a key file, proven to be readable by its owner alone.

    Raises:
        ConfigurationError: it is absent or too large.
        PermissionDenied: others may read or write it, or it is another user's.
    """
    subject = f"key file {path}"
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError as error:
        raise ConfigurationError(
            "it does not exist",
            operation="read",
            subject=subject,
            hint="create it with `zfsstore keys init`, or restore it",
            field="keys.root.path",
        ) from error
    except OSError as error:
        raise from_oserror(error, operation="read", subject=subject) from error
    with os.fdopen(fd, "rb") as file:
        status = os.fstat(fd)
        is_private = stat.S_ISREG(status.st_mode) and not status.st_mode & 0o077
        if not is_private or status.st_uid not in (0, os.geteuid()):
            raise PermissionDenied(
                "others than its owner may use it, or another user owns it",
                permission="mode 0600",
                operation="read",
                subject=subject,
                hint=f"chown it to this user and chmod 0600 {path}",
            )
        return decoded(file.read(_MAX_TEXT_BYTES), subject)


def create_key_file(path: str) -> None:
    """Write a key file with one new random key, durably, mode 0600.

    Raises:
        AlreadyExists: there is one; it is never overwritten.
        StorageError: the file system refused.
    """
    text = f"# root keys of zfsstore: VERSION:KEY, the highest wraps\n1:{secrets.token_hex(32)}\n"
    try:
        _write_key_file(path, text, may_replace=False)
    except FileExistsError as error:
        raise AlreadyExists(
            "there is one", operation="create key file", subject=path, hint="it was left as it is"
        ) from error
    except OSError as error:
        raise from_oserror(error, operation="create key file", subject=path) from error


def add_root_key(path: str) -> int:
    """Add a new random key to a key file, durably; return its version.

    Raises:
        StorageError: the file is unusable or cannot be replaced.
    """
    text = read_key_file(path)
    version = max(parse_root_keys(text, source=f"key file {path}")) + 1
    text = f"{text.rstrip()}\n{version}:{secrets.token_hex(32)}\n"
    try:
        _write_key_file(path, text, may_replace=True)
    except OSError as error:
        raise from_oserror(error, operation="replace key file", subject=path) from error
    return version


def _write_key_file(path: str, text: str, *, may_replace: bool) -> None:
    directory = os.path.dirname(path) or "."
    temporary = os.path.join(directory, f"{TEMPORARY_PREFIX}{secrets.token_hex(8)}")
    fd = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(text.encode())
            file.flush()
            os.fsync(fd)
        if may_replace:
            os.rename(temporary, path)
        else:
            os.link(temporary, path)
    finally:
        with suppress(FileNotFoundError):
            os.unlink(temporary)
    fsync_directory(directory)
