"""The index as ``dedup.db`` in the volume's state directory, and SQLite's errors as ours."""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar, TypeVar

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
from modules.wrappers.dedup.database import Connection, Database
from modules.wrappers.dedup.schema import DATABASE_NAME, MIGRATIONS

T = TypeVar("T")


class SQLiteDatabase(Database):
    """The index in a state directory.

    Args:
        is_read_only: it lies in a snapshot or a replica, where nothing may be written.

    Raises:
        NotSupported: a newer release wrote it.
        StorageError: it cannot be opened.
    """

    driver_errors: ClassVar[type[Exception]] = sqlite3.Error

    def __init__(self, directory: Path, *, is_read_only: bool = False) -> None:
        super().__init__()
        self.directory = directory
        self.is_read_only = is_read_only
        self.name = f"{directory / DATABASE_NAME}.db"
        self._copies: str | None = None
        self._identity = state.directory_identity(directory)
        if is_read_only and not os.path.exists(self.name):
            return
        try:
            with self.reading("open index") as connection:
                assert isinstance(connection, sqlite3.Connection)
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

    def write(self, operation: str, action: Callable[[Connection], T], *, frees: bool = False) -> T:
        """Run *action* in one write transaction, alone; durable on return.

        Args:
            frees: it makes room, so the space kept for that may be used.
        """
        try:
            return self._write(operation, action)
        except NoSpace:
            if not frees or not state.release_ballast(self.directory):
                raise
        return self._write(operation, action)

    def close(self) -> None:
        """Close all connections; nobody may be using one."""
        super().close()
        with self._lock:
            copies, self._copies = self._copies, None
        if copies is not None:
            shutil.rmtree(copies, ignore_errors=True)

    def translate(self, error: Exception, operation: str) -> StorageError:
        """Return *error* as one of ours."""
        code = int(getattr(error, "sqlite_errorcode", 0) or 0) & 0xFF
        kind: type[StorageError] = SubstrateError
        hint = None
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            kind, hint = Busy, "try again"
        elif code == sqlite3.SQLITE_FULL or (
            code in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN)
            and state.is_full(self.directory)
        ):
            kind, hint = NoSpace, "delete something or raise the quota"
        elif code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            kind, hint = IntegrityError, "restore it from a snapshot, or rebuild it"
        elif code in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY):
            kind, hint = Unavailable, "is the volume mounted and writable?"
        return kind(str(error), operation=operation, subject=self.name, hint=hint)

    def _begin_write(self, connection: Connection) -> None:
        connection.execute("BEGIN IMMEDIATE")

    def _connect(self) -> Connection:
        connection = self._open()
        if state.directory_identity(self.directory) != self._identity:
            connection.close()
            raise Unavailable(
                "another volume has taken its place",
                operation="open index",
                subject=self.name,
                hint="try again",
            )
        return connection

    def _open(self) -> Connection:
        if not self.is_read_only:
            return state.open_database(self.directory, DATABASE_NAME)
        with self._lock:
            if self._copies is None:
                self._copies = tempfile.mkdtemp(prefix="zfsstore-dedup-")
        return state.open_snapshot_database(
            self.directory, DATABASE_NAME, cache_directory=Path(self._copies, "copy")
        )

    def _check_version(self, version: int) -> None:
        if version > len(MIGRATIONS):
            raise NotSupported(
                f"its schema version is {version}, this release reads 1 to {len(MIGRATIONS)}",
                capability="schema_version",
                operation="open index",
                subject=self.name,
                hint="upgrade zfsstore on this host",
            )
