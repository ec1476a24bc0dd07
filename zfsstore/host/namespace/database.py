"""Where the tables live: SQLite inside a volume, or one shared SQLite or PostgreSQL database."""

from __future__ import annotations

import importlib
import os
import sqlite3
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, ClassVar, Final

from sqlalchemy import Dialect, literal_column
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from modules import state
from modules.errors import (
    Busy,
    ConfigurationError,
    Conflict,
    IntegrityError,
    NoSpace,
    NotSupported,
    StorageError,
    SubstrateError,
    Unavailable,
)
from zfsstore.host.namespace import schema
from zfsstore.host.namespace.dialects import POSTGRESQL, SQLITE
from zfsstore.host.namespace.statements import Statements, compile_statements
from zfsstore.host.namespace.transaction import Connection, new_bucket

DATABASE_NAME: Final = "index"
_FULL_BYTES: Final = 1024 * 1024
_SCHEMA_LOCK: Final = 0x7A66_7373_746F_7265  # "zfsstore", an advisory lock's number


Identity = tuple[int, int]
"""Device and inode of a state directory."""


class Database(ABC):
    """One database: how to connect, what its errors mean, and its SQL.

    Connections are in autocommit mode; each is used by one thread at a time.
    """

    dialect: ClassVar[Dialect]
    begin: ClassVar[str]
    has_lastrowid: ClassVar[bool]
    name: str

    @property
    def statements(self) -> Statements:
        """Every statement, as text for this database."""
        return compile_statements(self.dialect)

    @abstractmethod
    def prepare(self) -> None:
        """Create or migrate the tables.

        Raises:
            NotSupported: a newer release wrote them.
        """

    @abstractmethod
    def connect(self) -> Connection:
        """Return a new connection."""

    @property
    @abstractmethod
    def errors(self) -> Any:
        """The driver's module, with the error classes of PEP 249."""

    @abstractmethod
    def should_retry(self, error: Exception) -> bool:
        """Return whether a failed transaction may succeed now, having done something about it."""

    @abstractmethod
    def is_uncertain(self, error: Exception) -> bool:
        """Return whether a COMMIT that failed so may have been carried out all the same."""

    @abstractmethod
    def translate(self, error: Exception, operation: str) -> StorageError:
        """Return the error of modules.errors for one of the driver's."""


class _SqliteDatabase(Database):
    dialect = SQLITE
    begin = "BEGIN IMMEDIATE"
    has_lastrowid = True
    directory: Path

    @property
    def errors(self) -> Any:
        return sqlite3

    def should_retry(self, error: Exception) -> bool:
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
        elif code == sqlite3.SQLITE_FULL or (code == sqlite3.SQLITE_IOERR and self._is_full()):
            kind, hint = NoSpace, "delete something or raise the quota"
        elif code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            kind, hint = IntegrityError, "restore the volume from a snapshot"
        elif code == sqlite3.SQLITE_CONSTRAINT:
            kind, hint = Conflict, "another request was faster; look again"
        elif code in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY):
            kind, hint = Unavailable, "is the volume mounted and writable?"
        return kind(str(error), operation=operation, subject=self.name, hint=hint)

    def _is_full(self) -> bool:
        try:
            status = os.statvfs(self.directory)
        except OSError:
            return False
        return status.f_bavail * status.f_frsize < _FULL_BYTES


class VolumeDatabase(_SqliteDatabase):
    """The index inside a volume: ``index.db`` in its state directory, for one bucket.

    Args:
        identity: what *directory* was when the volume was looked up. Connections are opened as
            they are needed; one that finds another volume under the same path fails.
    """

    def __init__(self, directory: Path, identity: Identity | None = None) -> None:
        self.directory = directory
        self._identity = identity or directory_identity(directory)
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
        if directory_identity(self.directory) != self._identity:
            connection.close()
            raise Unavailable(
                "another volume has taken its place",
                operation="open index",
                subject=self.name,
                hint="try again",
            )
        return connection

    def should_retry(self, error: Exception) -> bool:
        is_full = isinstance(error, sqlite3.Error) and state.is_lack_of_space(error)
        return is_full and state.release_ballast(self.directory)

    def _create_bucket(self, connection: sqlite3.Connection) -> None:
        bucket = {"bucket_id": schema.VOLUME_BUCKET_ID}
        if connection.execute(self.statements.bucket, bucket).fetchone() is None:
            connection.execute("BEGIN IMMEDIATE")
            if connection.execute(self.statements.bucket, bucket).fetchone() is None:
                connection.execute(self.statements.insert_bucket, new_bucket())
            connection.execute("COMMIT")


class SnapshotDatabase(_SqliteDatabase):
    """The index in a read-only snapshot of a volume."""

    def __init__(self, directory: Path, cache_directory: Path) -> None:
        self.directory = directory
        self.name = f"{directory / DATABASE_NAME}.db"
        self._cache_directory = cache_directory

    def prepare(self) -> None:
        connection = self.connect()
        try:
            version = state.schema_version(connection)
        finally:
            connection.close()
        if not 0 < version <= schema.SCHEMA_VERSION:
            raise NotSupported(
                f"its schema version is {version}, this release reads 1 to {schema.SCHEMA_VERSION}",
                capability="schema_version",
                operation="read snapshot",
                subject=self.name,
            )

    def connect(self) -> sqlite3.Connection:
        try:
            return state.open_snapshot_database(
                self.directory, DATABASE_NAME, cache_directory=self._cache_directory
            )
        except sqlite3.Error as error:
            raise self.translate(error, "open index") from error


class SharedSqliteDatabase(_SqliteDatabase):
    """One SQLite file for the buckets of every module without volumes of its own."""

    def __init__(self, path: Path) -> None:
        self.directory = path.parent
        self.name = str(path)
        self._path = path

    def prepare(self) -> None:
        connection = self.connect()
        try:
            connection.execute("BEGIN IMMEDIATE")
            _create_shared(connection, self.dialect, self.name)
            connection.execute("COMMIT")
        finally:
            connection.close()

    def connect(self) -> sqlite3.Connection:
        try:
            return state.connect(self._path)
        except sqlite3.Error as error:
            raise self.translate(error, "open database") from error


class SharedPostgresqlDatabase(Database):
    """One PostgreSQL database, for hosts on several machines."""

    dialect = POSTGRESQL
    begin = "BEGIN"
    has_lastrowid = False

    def __init__(self, url: URL) -> None:
        self.name = url.render_as_string(hide_password=True)
        try:
            self._driver = importlib.import_module("psycopg")
        except ImportError as error:
            raise ConfigurationError(
                "the package psycopg is not installed",
                operation="open database",
                subject=self.name,
                hint="pip install zfsstore[postgres]",
                field="database_url",
            ) from error
        arguments, options = self.dialect.create_connect_args(url)
        self._arguments, self._options = arguments, {**options, "autocommit": True}

    @property
    def errors(self) -> Any:
        return self._driver

    def prepare(self) -> None:
        connection = self.connect()
        try:
            connection.execute("BEGIN")
            connection.execute(f"SELECT pg_advisory_xact_lock({_SCHEMA_LOCK})")
            _create_shared(connection, self.dialect, self.name)
            connection.execute("COMMIT")
        except self._driver.Error as error:
            raise self.translate(error, "create tables") from error
        finally:
            connection.close()

    def connect(self) -> Connection:
        try:
            connection: Connection = self._driver.connect(*self._arguments, **self._options)
        except self._driver.Error as error:
            raise self.translate(error, "connect") from error
        return connection

    def should_retry(self, error: Exception) -> bool:
        return isinstance(error, self._driver.OperationalError)

    def is_uncertain(self, error: Exception) -> bool:
        return isinstance(error, self._driver.OperationalError)

    def translate(self, error: Exception, operation: str) -> StorageError:
        kind: type[StorageError] = SubstrateError
        sqlstate = getattr(error, "sqlstate", None) or ""
        if sqlstate == "53100":
            kind = NoSpace
        elif sqlstate.startswith("40"):
            kind = Busy
        elif sqlstate.startswith("23"):
            kind = Conflict
        elif isinstance(error, self._driver.OperationalError):
            kind = Unavailable
        return kind(str(error).strip(), operation=operation, subject=self.name)


def directory_identity(directory: Path) -> Identity:
    """Return what a directory is, whatever its path.

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


def open_shared(database_url: str) -> Database:
    """Return the database that an SQLAlchemy URL names; nothing is opened yet.

    Raises:
        ConfigurationError: no such URL, an in-memory SQLite, or another product.
    """
    try:
        url = make_url(database_url)
    except ArgumentError as error:
        raise ConfigurationError(
            str(error), operation="open database", field="database_url"
        ) from error
    if url.get_backend_name() == "postgresql":
        return SharedPostgresqlDatabase(url)
    if url.get_backend_name() == "sqlite" and url.database not in (None, "", ":memory:"):
        return SharedSqliteDatabase(Path(str(url.database)))
    raise ConfigurationError(
        "it names neither a SQLite file nor a PostgreSQL database",
        operation="open database",
        subject=url.render_as_string(hide_password=True),
        hint="write sqlite:////path/to/file.db or postgresql+psycopg://host/database",
        field="database_url",
    )


class Readers:
    """A bounded pool of connections for reading; a thread borrows one for a single question."""

    def __init__(self, database: Database, *, limit: int = 4) -> None:
        self._database = database
        self._idle: list[Connection] = []
        self._permits = threading.BoundedSemaphore(limit)

    @contextmanager
    def borrow(self) -> Iterator[Connection]:
        """Give a connection; what the driver raises inside is translated."""
        with self._permits:
            try:
                connection = self._idle.pop()
            except IndexError:
                connection = self._database.connect()
            try:
                yield connection
            except self._database.errors.Error as error:
                connection.close()
                raise self._database.translate(error, "read index") from error
            except BaseException:
                connection.close()
                raise
            self._idle.append(connection)

    def close(self) -> None:
        """Close every connection; nobody may be using one."""
        while self._idle:
            self._idle.pop().close()


def _create_shared(connection: Connection, dialect: Dialect, name: str) -> None:
    """Create the tables of a shared database if they are not there; inside a transaction."""
    try:
        connection.execute("SAVEPOINT probe")
        row = connection.execute("SELECT max(version) FROM namespace_schema").fetchone()
        connection.execute("RELEASE SAVEPOINT probe")
    except Exception as error:
        if "namespace_schema" not in str(error):
            raise
        connection.execute("ROLLBACK TO SAVEPOINT probe")
        row = None
    version = row[0] if row else None
    if version is None:
        for statement in schema.format_ddl(dialect, shared=True):
            connection.execute(statement)
        insert = schema.namespace_schema.insert().values(
            version=literal_column(str(schema.SCHEMA_VERSION))
        )
        connection.execute(str(insert.compile(dialect=dialect)))
    elif version > schema.SCHEMA_VERSION:
        raise NotSupported(
            f"its schema version is {version}, this release knows up to {schema.SCHEMA_VERSION}",
            capability="schema_version",
            operation="open database",
            subject=name,
            hint="upgrade zfsstore on this host",
        )


def _primary_code(error: Exception) -> int:
    """Return SQLite's primary result code, which is in the low byte of the extended one."""
    return int(getattr(error, "sqlite_errorcode", 0) or 0) & 0xFF
