"""From the configured URL to the shared database."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from modules.errors import ConfigurationError
from zfsstore.host.namespace.database import Database
from zfsstore.host.namespace.postgresql import SharedPostgresqlDatabase
from zfsstore.host.namespace.sqlite import SharedSqliteDatabase


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
