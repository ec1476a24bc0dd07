"""Connections to the catalog's database: reading, writing, and what went wrong in its terms."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

from sqlalchemy import Row, Table, select, update
from sqlalchemy.engine import Connection, make_url
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.pool import PoolProxiedConnection

from modules.errors import ConfigurationError, StorageError, Unavailable
from zfsstore.host.catalog import schema
from zfsstore.host.catalog.engine import IS_WRITE, make_engine
from zfsstore.host.catalog.rows import unknown

_REVISION: Final = "SELECT value FROM state WHERE name = 'revision'"


class Connections:
    """The database of a catalog, opened; its tables are created when they are missing.

    Args, raises:
        As Catalog.
    """

    def __init__(self, database_url: str) -> None:
        try:
            url = make_url(database_url)
            self._name = url.render_as_string(hide_password=True)
            self._engine = make_engine(database_url)
            self._revision_lock = threading.Lock()
            self._revision_connection: PoolProxiedConnection | None = None
        except (SQLAlchemyError, ImportError) as error:
            raise ConfigurationError(
                str(error),
                operation="open catalog",
                field="database_url",
                hint="pip install zfsstore[postgres]" if isinstance(error, ImportError) else None,
            ) from error
        try:
            with self._write("open catalog") as connection:
                schema.create(connection, subject=self._name)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close every connection; the catalog must not be used afterwards."""
        with self._revision_lock:
            if self._revision_connection is not None:
                self._revision_connection.close()
                self._revision_connection = None
        self._engine.dispose()

    def revision(self) -> int:
        """Return a number that grows with every change to modules, tenants or users.

        Asked with every request, so SQLite gets a cursor of its own, past the connection pool.
        """
        if self._engine.dialect.name != "sqlite":
            with self._read("read catalog") as connection:
                return int(connection.exec_driver_sql(_REVISION).scalar_one())
        with self._translated("read catalog", None), self._revision_lock:
            if self._revision_connection is None:
                self._revision_connection = self._engine.raw_connection()
            cursor = self._revision_connection.cursor()
            try:
                cursor.execute(_REVISION)
                (value,) = cursor.fetchone() or (0,)
                return int(value)
            except sqlite3.Error as error:
                raise DBAPIError(_REVISION, None, error) from error
            finally:
                cursor.close()

    def _row(self, table: Table, kind: str, name: str) -> Row[Any]:
        with self._read(f"get {kind}", name) as connection:
            row = connection.execute(select(table).where(table.c.name == name)).one_or_none()
        if row is None:
            raise unknown(kind, name)
        return row

    @contextmanager
    def _read(self, operation: str, subject: str | None = None) -> Iterator[Connection]:
        with self._translated(operation, subject), self._engine.connect() as connection:
            yield connection

    @contextmanager
    def _write(self, operation: str, subject: str | None = None) -> Iterator[Connection]:
        with (
            self._translated(operation, subject),
            self._engine.connect().execution_options(**{IS_WRITE: True}) as connection,
            connection.begin(),
        ):
            yield connection

    @contextmanager
    def _translated(self, operation: str, subject: str | None) -> Iterator[None]:
        try:
            yield
        except StorageError:
            raise
        except SQLAlchemyError as error:
            reason = str(error.orig) if isinstance(error, DBAPIError) else str(error)
            raise Unavailable(
                f"the catalog database {self._name} failed: {reason}",
                operation=operation,
                subject=subject,
                hint="check the database and the disk it is on",
            ) from error


def bump(connection: Connection) -> None:
    """Count the revision up: modules, tenants or users change."""
    table = schema.state
    connection.execute(
        update(table).where(table.c.name == "revision").values(value=table.c.value + 1)
    )


def upsert(connection: Connection, table: Table, key: str, values: Mapping[str, Any]) -> None:
    """Update the row, or insert it; the write transaction keeps other writers out."""
    condition = table.c[key] == values[key]
    if not connection.execute(update(table).where(condition).values(**values)).rowcount:
        connection.execute(table.insert().values(**values))


def all_rows(connection: Connection, table: Table) -> Sequence[Row[Any]]:
    """Return every row, sorted by name."""
    return connection.execute(select(table).order_by(table.c.name)).all()
