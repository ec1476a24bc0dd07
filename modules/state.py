"""Databases inside a volume, so that they are snapshotted and cloned with the objects.

Every database is SQLite in WAL mode with ``synchronous=FULL``: a COMMIT that returned survives
a power cut, and a file-system snapshot taken at any moment, by anybody, reads back as one
consistent state.

Ballast: a full volume cannot even open SQLite's files (measured on ZFS at its refquota), so
each state directory holds a file of random bytes that is removed as a last resort, when a
database could not be opened or written for want of space. (Removed, not truncated: that fails,
too, in a full dataset or pool.)
"""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final
from urllib.parse import quote

from modules.durable import TEMPORARY_PREFIX, durable_file
from modules.errors import ConfigurationError, NotSupported, Unavailable, translated_oserror

BALLAST_NAME: Final = "ballast"
BALLAST_BYTES: Final = 4 * 1024 * 1024
BUSY_TIMEOUT_S: Final = 30.0

_RELEASE_PATIENCE_S: Final = 20.0
_RELEASE_POLL_S: Final = 0.05
_SWITCH_POLL_S: Final = 0.002

Migration = Callable[[sqlite3.Connection], None]


Identity = tuple[int, int]
"""Device and inode of a state directory."""

_FULL_BYTES: Final = 1024 * 1024


def open_database(directory: Path, name: str) -> sqlite3.Connection:
    """Open, creating it when absent, the live database ``name.db`` for reading and writing.

    In autocommit mode: say ``BEGIN IMMEDIATE`` before a write transaction. May be used by one
    thread at a time, from any thread. Open it after a fork, never before.

    Raises:
        Unavailable: the directory is not there (volume not mounted).
        sqlite3.Error: anything else; with no space left, only after the ballast was released.
    """
    path = directory / f"{name}.db"
    try:
        connection = connect(path)
    except sqlite3.OperationalError as error:
        if not directory.is_dir():
            raise Unavailable(
                "its state directory is not there",
                operation="open database",
                subject=name,
                hint="is the volume mounted?",
            ) from None
        if not is_lack_of_space(error) or not release_ballast(directory):
            raise
        connection = connect(path)
    return connection


def is_lack_of_space(error: sqlite3.Error) -> bool:
    """Return whether an error of SQLite's may come from a full disk or an exceeded quota.

    SQLite knows ENOSPC alone; EDQUOT becomes an I/O error, or "unable to open database file".
    """
    code = getattr(error, "sqlite_errorcode", None) or 0
    return code & 0xFF in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN)


def is_full(directory: Path) -> bool:
    """Return whether a state directory has hardly any room left; False when it cannot be asked."""
    try:
        return _available_bytes(directory) < _FULL_BYTES
    except OSError:
        return False


def directory_identity(directory: Path) -> Identity:
    """Return what a state directory is, whatever its path: another volume's is another one.

    Raises:
        Unavailable: it is not there.
    """
    try:
        status = os.stat(directory)
    except OSError as error:
        raise Unavailable(
            error.strerror or str(error),
            operation="open index",
            subject=str(directory),
            hint="is the volume mounted?",
        ) from error
    return status.st_dev, status.st_ino


def connect(path: Path) -> sqlite3.Connection:
    """Open a database file, creating it when absent, with the settings all databases share."""
    connection = sqlite3.connect(
        path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
    )
    try:
        _switch_to_wal(connection)
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA foreign_keys=ON")
    except BaseException:
        connection.close()
        raise
    return connection


def _switch_to_wal(connection: sqlite3.Connection) -> None:
    """Set the journal mode; wait for others who open or close the database at this moment.

    While the last one who had it open cleans up, and while the first one after a crash recovers,
    SQLite may say "locked" at once, whatever the busy timeout.

    Source: sqlite.org/wal.html, "Sometimes Queries Return SQLITE_BUSY In WAL Mode".
    """
    deadline = time.monotonic() + BUSY_TIMEOUT_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL").fetchone()
        except sqlite3.OperationalError as error:
            is_busy = error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
            if not is_busy or time.monotonic() > deadline:
                raise
            time.sleep(_SWITCH_POLL_S)
        else:
            return


def open_snapshot_database(
    directory: Path, name: str, *, cache_directory: Path
) -> sqlite3.Connection:
    """Open the database ``name.db`` of a read-only snapshot of a volume, for reading.

    Without a WAL: immutable. With a WAL and its index: read-only. With a WAL alone SQLite would
    have to write beside it, so database and WAL are copied to *cache_directory* and read there.
    (Opening such a database as immutable would silently hide the rows in the WAL.)

    Args:
        directory: the state directory inside the snapshot.
        cache_directory: for this snapshot alone, of whatever identity it has; created with the
            copy in it when needed, whole or not at all. Several processes may share it.

    Raises:
        StorageError: the copy cannot be made.

    Source: sqlite.org/wal.html, "Read-Only Databases"; sqlite.org/uri.html, "immutable".
    """
    path = directory / f"{name}.db"
    wal, index = Path(f"{path}-wal"), Path(f"{path}-shm")
    has_wal = wal.exists() and wal.stat().st_size > 0
    if not has_wal:
        uri = f"file:{quote(str(path))}?immutable=1"
    elif index.exists():
        uri = f"file:{quote(str(path))}?mode=ro"
    else:
        copy = _copied(path, wal, cache_directory)
        uri = f"file:{quote(str(copy))}?mode=rw"
    connection = sqlite3.connect(
        uri, uri=True, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
    )
    connection.execute("PRAGMA query_only=ON")
    return connection


def _copied(path: Path, wal: Path, cache_directory: Path) -> Path:
    """Return the copy of a database and its WAL; whoever is first makes it."""
    copy = cache_directory / path.name
    if copy.exists():
        return copy
    with translated_oserror(operation="copy database out of snapshot", subject=str(path)):
        cache_directory.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        aside = Path(tempfile.mkdtemp(prefix=TEMPORARY_PREFIX, dir=cache_directory.parent))
        try:
            shutil.copyfile(wal, aside / wal.name)
            shutil.copyfile(path, aside / path.name)
            os.rename(aside, cache_directory)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):  # another was faster
                raise
        finally:
            shutil.rmtree(aside, ignore_errors=True)
    return copy


def migrate(connection: sqlite3.Connection, migrations: Sequence[Migration], *, name: str) -> None:
    """Bring a live database to the newest schema; its version is SQLite's ``user_version``.

    Each step runs once, in one transaction with the new version number; two processes that open
    a new volume at once do not collide.

    Args:
        migrations: step i brings version i to i + 1. Never change or remove a released step.

    Raises:
        NotSupported: a newer release wrote this database; nothing was changed.
    """
    newest = len(migrations)
    while (version := schema_version(connection)) != newest:
        if version > newest:
            raise NotSupported(
                f"its schema version is {version}, this release knows up to {newest}",
                capability="schema_version",
                operation="open database",
                subject=name,
                hint="upgrade zfsstore on this host",
            )
        connection.execute("BEGIN IMMEDIATE")
        try:
            if schema_version(connection) == version:
                migrations[version](connection)
                connection.execute(f"PRAGMA user_version={version + 1}")
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise


def schema_version(connection: sqlite3.Connection) -> int:
    """Return the schema version of an open database; 0 for an empty one."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    return int(version)


def create_ballast(directory: Path) -> None:
    """Reserve space in a state directory, unless it is reserved already.

    Random bytes, which no file system compresses or deduplicates away.
    """
    path = directory / BALLAST_NAME
    if path.exists() and path.stat().st_size == BALLAST_BYTES:
        return
    with durable_file(path, mode=0o600) as file:
        file.write(os.urandom(BALLAST_BYTES))


def release_ballast(directory: Path) -> bool:
    """Give the reserved space back, so that databases can be opened and rows deleted.

    Returns when it can be used: ZFS frees it with its next transaction groups, seconds later.

    Returns:
        True when there was space to give back.
    """
    path = directory / BALLAST_NAME
    try:
        had_space = path.stat().st_size > 0
        path.unlink()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise ConfigurationError(
            error.strerror or str(error), operation="release ballast", subject=str(path)
        ) from error
    deadline = time.monotonic() + _RELEASE_PATIENCE_S
    while _available_bytes(directory) < BALLAST_BYTES // 2 and time.monotonic() < deadline:
        time.sleep(_RELEASE_POLL_S)
    return had_space


def _available_bytes(directory: Path) -> int:
    found = os.statvfs(directory)
    return found.f_bavail * found.f_frsize
