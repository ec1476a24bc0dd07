"""The tables in a database that other parts of the host use too."""

from __future__ import annotations

from sqlalchemy import Dialect, literal_column

from modules.errors import NotSupported
from zfsstore.host.namespace import schema
from zfsstore.host.namespace.transaction import Connection


def create_tables(connection: Connection, dialect: Dialect, name: str) -> None:
    """Create the tables that are not there; the caller has begun a transaction.

    Raises:
        NotSupported: a newer release created them.
    """
    try:
        connection.execute("SAVEPOINT probe")
        row = connection.execute("SELECT max(version) FROM namespace_schema").fetchone()
        connection.execute("RELEASE SAVEPOINT probe")
    except Exception as error:
        if "namespace_schema" not in str(error):
            raise
        connection.execute("ROLLBACK TO SAVEPOINT probe")
        row = None
    version = (row[0] if row else None) or 0
    if version > schema.SCHEMA_VERSION:
        raise NotSupported(
            f"its schema version is {version}, this release knows up to {schema.SCHEMA_VERSION}",
            capability="schema_version",
            operation="open database",
            subject=name,
            hint="upgrade zfsstore on this host",
        )
    for added in range(version + 1, schema.SCHEMA_VERSION + 1):
        for statement in schema.format_ddl(dialect, shared=True, version=added):
            connection.execute(statement)
        insert = schema.namespace_schema.insert().values(version=literal_column(str(added)))
        connection.execute(str(insert.compile(dialect=dialect)))
