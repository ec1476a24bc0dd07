"""The SQLAlchemy engine of the catalog: how a transaction begins on each database."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import create_engine, event
from sqlalchemy.engine import Connection, Engine

IS_WRITE: Final = "zfsstore_is_write"
"""Execution option of a connection whose transactions write."""

_BUSY_TIMEOUT_S: Final = 30.0


def make_engine(database_url: str) -> Engine:
    """Return an engine; on SQLite with a write-ahead log and full durability."""
    engine = create_engine(database_url, pool_pre_ping=not database_url.startswith("sqlite"))
    if engine.dialect.name != "sqlite":
        return engine

    @event.listens_for(engine, "connect")
    def configure(dbapi_connection: Any, _record: object) -> None:
        dbapi_connection.isolation_level = None  # BEGIN is said below, not by the driver
        dbapi_connection.execute(f"PRAGMA busy_timeout={int(_BUSY_TIMEOUT_S * 1000)}")
        dbapi_connection.execute("PRAGMA journal_mode=WAL").fetchone()
        dbapi_connection.execute("PRAGMA synchronous=FULL")
        dbapi_connection.execute("PRAGMA foreign_keys=ON")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        if connection.get_execution_options().get(IS_WRITE):
            # A deferred transaction that reads first cannot wait for another writer.
            connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine
