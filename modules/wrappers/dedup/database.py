"""Connections to one index, its transactions, and SQLite's errors as ours."""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TypeVar

from modules import state
from modules.errors import (
    Busy,
    IntegrityError,
    NoSpace,
    NotSupported,
    StorageError,
    SubstrateError,
    Unavailable,
)
from modules.wrappers.dedup.schema import DATABASE_NAME, MIGRATIONS

T = TypeVar("T")
_MAX_IDLE: Final = 4
_FULL_BYTES: Final = 1024 * 1024


class Database:
    """The index in a state directory. Threads may share it.

    Args:
        is_read_only: it lies in a snapshot or a replica, where nothing may be written.

    Raises:
        NotSupported: a newer release wrote it.
        StorageError: it cannot be opened.
    """

    def __init__(self, directory: Path, *, is_read_only: bool = False) -> None:
        self.directory = directory
        self.is_read_only = is_read_only
        self.name = f"{directory / DATABASE_NAME}.db"
        self._idle: list[sqlite3.Connection] = []
        self._lock = threading.Lock()
        self._write_lock = threading.Lock()
        self._copies: str | None = None
        self._identity = _identity(directory)
        self._is_closed = False
        if is_read_only and not os.path.exists(self.name):
            return
        try:
            with self.reading("open index") as connection:
                if is_read_only:
                    self._check_version(state.schema_version(connection))
                else:
                    state.migrate(connection, MIGRATIONS, name=self.name)
        except BaseException:
            self.close()
            raise

    @property
    def is_absent(self) -> bool:
        """True in a snapshot that was taken before anything was put."""
        return self.is_read_only and not os.path.exists(self.name)

    @contextmanager
    def reading(self, operation: str) -> Iterator[sqlite3.Connection]:
        """Give a connection; within the block every statement sees what is committed then."""
        connection = self._take(operation)
        try:
            yield connection
        except sqlite3.Error as error:
            connection.close()
            raise self.translate(error, operation) from error
        except BaseException:
            if connection.in_transaction:
                connection.rollback()
            self._give_back(connection)
            raise
        self._give_back(connection)

    def write(
        self, operation: str, action: Callable[[sqlite3.Connection], T], *, frees: bool = False
    ) -> T:
        """Run *action* in one write transaction; durable on return.

        Args:
            frees: it makes room, so the space kept for that may be used.
        """
        try:
            return self._write(operation, action)
        except NoSpace:
            if not frees or not state.release_ballast(self.directory):
                raise
        return self._write(operation, action)

    def _write(self, operation: str, action: Callable[[sqlite3.Connection], T]) -> T:
        with self._write_lock, self.reading(operation) as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                result = action(connection)
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
            return result

    def close(self) -> None:
        """Close all connections; nobody may be using one."""
        with self._lock:
            self._is_closed = True
            idle, self._idle = self._idle, []
            copies, self._copies = self._copies, None
        for connection in idle:
            connection.close()
        if copies is not None:
            shutil.rmtree(copies, ignore_errors=True)

    def translate(self, error: sqlite3.Error, operation: str) -> StorageError:
        """Return *error* as one of ours."""
        code = int(getattr(error, "sqlite_errorcode", 0) or 0) & 0xFF
        kind: type[StorageError] = SubstrateError
        hint = None
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            kind, hint = Busy, "try again"
        elif code == sqlite3.SQLITE_FULL or (
            code in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN) and self._is_full()
        ):
            kind, hint = NoSpace, "delete something or raise the quota"
        elif code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            kind, hint = IntegrityError, "restore it from a snapshot, or rebuild it"
        elif code in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY):
            kind, hint = Unavailable, "is the volume mounted and writable?"
        return kind(str(error), operation=operation, subject=self.name, hint=hint)

    def _take(self, operation: str) -> sqlite3.Connection:
        with self._lock:
            if self._idle:
                return self._idle.pop()
        try:
            connection = self._connect()
        except sqlite3.Error as error:
            raise self.translate(error, operation) from error
        if _identity(self.directory) != self._identity:
            connection.close()
            raise Unavailable(
                "another volume has taken its place",
                operation=operation,
                subject=self.name,
                hint="try again",
            )
        return connection

    def _connect(self) -> sqlite3.Connection:
        if not self.is_read_only:
            return state.open_database(self.directory, DATABASE_NAME)
        with self._lock:
            if self._copies is None:
                self._copies = tempfile.mkdtemp(prefix="zfsstore-dedup-")
        return state.open_snapshot_database(
            self.directory, DATABASE_NAME, cache_directory=Path(self._copies, "copy")
        )

    def _give_back(self, connection: sqlite3.Connection) -> None:
        with self._lock:
            if not self._is_closed and len(self._idle) < _MAX_IDLE:
                self._idle.append(connection)
                return
        connection.close()

    def _check_version(self, version: int) -> None:
        if version > len(MIGRATIONS):
            raise NotSupported(
                f"its schema version is {version}, this release reads 1 to {len(MIGRATIONS)}",
                capability="schema_version",
                operation="open index",
                subject=self.name,
                hint="upgrade zfsstore on this host",
            )

    def _is_full(self) -> bool:
        try:
            status = os.statvfs(self.directory)
        except OSError:
            return False
        return status.f_bavail * status.f_frsize < _FULL_BYTES


def _identity(directory: Path) -> tuple[int, int]:
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
