"""SQLite: the index inside a volume, in a snapshot of one, or one file for many buckets."""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from modules import state
from modules.errors import (
    Busy,
    Conflict,
    IntegrityError,
    NoSpace,
    StorageError,
    SubstrateError,
    Unavailable,
)
from zfsstore.host.namespace import schema
from zfsstore.host.namespace.bucket_changes import new_bucket
from zfsstore.host.namespace.database import Database
from zfsstore.host.namespace.dialects import SQLITE
from zfsstore.host.namespace.shared import create_tables

DATABASE_NAME: Final = "index"


class SqliteDatabase(Database):
    """What all databases of SQLite have in common."""

    dialect = SQLITE
    begin = "BEGIN IMMEDIATE"
    has_lastrowid = True
    directory: Path

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Wait in the kernel for other processes' transactions, where SQLite would poll.

        With four processes writing to one index, polling let a request wait 1.5 s at worst, this
        0.1 s (measured). The lock is on the directory: descriptors of the database file itself
        would interfere with SQLite's locks. Where it cannot be had, polling remains.
        """
        fd = -1
        with suppress(OSError):
            fd = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            fcntl.flock(fd, fcntl.LOCK_EX)
        try:
            yield
        finally:
            if fd >= 0:
                with suppress(OSError):  # explicitly: a child may have inherited the descriptor
                    fcntl.flock(fd, fcntl.LOCK_UN)
                os.close(fd)

    @property
    def errors(self) -> Any:
        return sqlite3

    def is_full(self, error: Exception) -> bool:
        return isinstance(error, sqlite3.Error) and state.is_lack_of_space(error)

    def release_reserve(self) -> bool:
        return False

    def is_disconnected(self, error: Exception) -> bool:
        return False

    def is_uncertain(self, error: Exception) -> bool:
        return getattr(error, "sqlite_errorcode", None) in (
            sqlite3.SQLITE_IOERR_FSYNC,
            sqlite3.SQLITE_IOERR_DIR_FSYNC,
        )

    def translate(self, error: Exception, operation: str) -> StorageError:
        code = _primary_code(error)
        kind: type[StorageError] = SubstrateError
        hint = None
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            kind, hint = Busy, "try again"
        elif code == sqlite3.SQLITE_FULL or (
            code == sqlite3.SQLITE_IOERR and state.is_full(self.directory)
        ):
            kind, hint = NoSpace, "delete something or raise the quota"
        elif code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            kind, hint = IntegrityError, "restore the volume from a snapshot"
        elif code == sqlite3.SQLITE_CONSTRAINT:
            kind, hint = Conflict, "another request was faster; look again"
        elif code in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY):
            kind, hint = Unavailable, "is the volume mounted and writable?"
        return kind(str(error), operation=operation, subject=self.name, hint=hint)


class VolumeDatabase(SqliteDatabase):
    """The index inside a volume: ``index.db`` in its state directory, for one bucket.

    Args:
        identity: what *directory* was when the volume was looked up. Connections are opened as
            they are needed; one that finds another volume under the same path fails.
    """

    def __init__(self, directory: Path, identity: state.Identity | None = None) -> None:
        self.directory = directory
        self._identity = identity or state.directory_identity(directory)
        self.name = f"{directory / DATABASE_NAME}.db"

    def prepare(self) -> None:
        connection = self.connect()
        try:
            state.migrate(connection, schema.MIGRATIONS, name=self.name)
            self._create_bucket(connection)
        except sqlite3.Error as error:
            raise self.translate(error, "open index") from error
        finally:
            connection.close()
        with suppress(OSError):  # a volume that is full is opened all the same
            state.create_ballast(self.directory)

    def connect(self) -> sqlite3.Connection:
        try:
            connection = state.open_database(self.directory, DATABASE_NAME)
        except sqlite3.Error as error:
            raise self.translate(error, "open index") from error
        if state.directory_identity(self.directory) != self._identity:
            connection.close()
            raise Unavailable(
                "another volume has taken its place",
                operation="open index",
                subject=self.name,
                hint="try again",
            )
        return connection

    def release_reserve(self) -> bool:
        return state.release_ballast(self.directory)

    def _create_bucket(self, connection: sqlite3.Connection) -> None:
        bucket = {"bucket_id": schema.VOLUME_BUCKET_ID}
        if connection.execute(self.statements.bucket, bucket).fetchone() is None:
            connection.execute("BEGIN IMMEDIATE")
            if connection.execute(self.statements.bucket, bucket).fetchone() is None:
                connection.execute(self.statements.insert_bucket, new_bucket())
            connection.execute("COMMIT")


class SharedSqliteDatabase(SqliteDatabase):
    """One SQLite file for the buckets of every module without volumes of its own."""

    def __init__(self, path: Path) -> None:
        self.directory = path.parent
        self.name = str(path)
        self._path = path

    def prepare(self) -> None:
        connection = self.connect()
        try:
            connection.execute("BEGIN IMMEDIATE")
            create_tables(connection, self.dialect, self.name)
            connection.execute("COMMIT")
        finally:
            connection.close()

    def connect(self) -> sqlite3.Connection:
        try:
            return state.connect(self._path)
        except sqlite3.Error as error:
            raise self.translate(error, "open database") from error


def _primary_code(error: Exception) -> int:
    """Return SQLite's primary result code, which is in the low byte of the extended one."""
    return int(getattr(error, "sqlite_errorcode", 0) or 0) & 0xFF
