"""PostgreSQL: one database for the buckets of many hosts."""

from __future__ import annotations

import importlib
from typing import Any, Final

from sqlalchemy.engine import URL

from modules.errors import (
    Busy,
    ConfigurationError,
    Conflict,
    NoSpace,
    StorageError,
    SubstrateError,
    Unavailable,
)
from zfsstore.host.namespace.database import Database
from zfsstore.host.namespace.dialects import POSTGRESQL
from zfsstore.host.namespace.shared import create_tables
from zfsstore.host.namespace.transaction import Connection

_SCHEMA_LOCK: Final = 0x7A66_7373_746F_7265  # "zfsstore", an advisory lock's number
_DISK_FULL: Final = "53100"


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
            create_tables(connection, self.dialect, self.name)
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

    def is_full(self, error: Exception) -> bool:
        return getattr(error, "sqlstate", None) == _DISK_FULL

    def release_reserve(self) -> bool:
        return False

    def is_disconnected(self, error: Exception) -> bool:
        return isinstance(error, self._driver.OperationalError)

    def is_uncertain(self, error: Exception) -> bool:
        return isinstance(error, self._driver.OperationalError)

    def translate(self, error: Exception, operation: str) -> StorageError:
        kind: type[StorageError] = SubstrateError
        sqlstate = getattr(error, "sqlstate", None) or ""
        if sqlstate == _DISK_FULL:
            kind = NoSpace
        elif sqlstate.startswith("40"):
            kind = Busy
        elif sqlstate.startswith("23"):
            kind = Conflict
        elif isinstance(error, self._driver.OperationalError):
            kind = Unavailable
        return kind(str(error).strip(), operation=operation, subject=self.name)
