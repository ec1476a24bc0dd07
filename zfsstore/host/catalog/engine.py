"""The SQLAlchemy engine of the catalog: how a transaction begins on each database."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from sqlalchemy import create_engine, event
from sqlalchemy.engine import Connection, Engine

IS_WRITE: Final = "zfsstore_is_write"
"""Execution option of a connection whose transactions write."""

_BUSY_TIMEOUT_S: Final = 30.0

_BEGIN_WRITE: Final[Mapping[str, str]] = MappingProxyType(
    {
        # A deferred transaction that reads first cannot wait for another writer.
        "sqlite": "BEGIN IMMEDIATE",
        "postgresql": "SELECT pg_advisory_xact_lock(8112027)",  # any fixed number
    }
)
"""What lets one writer in at a time, on every database: what it has read stays true."""


def make_engine(database_url: str) -> Engine:
    """Return an engine whose writing transactions wait for each other; durable on SQLite, too."""
    engine = create_engine(database_url, pool_pre_ping=not database_url.startswith("sqlite"))
    begin_write = _BEGIN_WRITE.get(engine.dialect.name)

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        if begin_write and connection.get_execution_options().get(IS_WRITE):
            connection.exec_driver_sql(begin_write)

    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _configure_sqlite)
    return engine


def _configure_sqlite(dbapi_connection: Any, _record: object) -> None:
    dbapi_connection.isolation_level = None  # BEGIN is said above, not by the driver
    dbapi_connection.execute(f"PRAGMA busy_timeout={int(_BUSY_TIMEOUT_S * 1000)}")
    dbapi_connection.execute("PRAGMA journal_mode=WAL").fetchone()
    dbapi_connection.execute("PRAGMA synchronous=FULL")
    dbapi_connection.execute("PRAGMA foreign_keys=ON")
