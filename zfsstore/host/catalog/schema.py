"""The catalog's tables, the same on SQLite and PostgreSQL.

``state`` holds two counters: ``schema`` (the version of this layout) and ``revision``, which
every change to modules, tenants or users increments, so that a process notices with one read.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Column, ForeignKey, MetaData, Table, Text
from sqlalchemy.engine import Connection
from sqlalchemy.schema import CreateTable

from modules.errors import NotSupported

SCHEMA_VERSION: Final = 1

metadata = MetaData()

# Sorted by code point, as SQLite does, whatever the language of the database.
_Name = Text().with_variant(Text(collation="C"), "postgresql")

state = Table(
    "state",
    metadata,
    Column("name", _Name, primary_key=True),
    Column("value", BigInteger, nullable=False),
)

vendor_module = Table(
    "vendor_module",
    metadata,
    Column("name", _Name, primary_key=True),
    Column("module", Text, nullable=False),
    Column("label", Text, nullable=False),
    Column("args", Text, nullable=False),  # JSON object
    Column("python_path", Text, nullable=False),  # JSON array
    Column("code_digests", Text, nullable=False),  # JSON object: entry -> digest
)

tenant = Table(
    "tenant",
    metadata,
    Column("name", _Name, primary_key=True),
    Column("policy", _Name, ForeignKey("vendor_module.name"), nullable=False),
    Column("quota_bytes", BigInteger),
)

user = Table(
    "user_account",  # "user" is a reserved word in PostgreSQL
    metadata,
    Column("name", _Name, primary_key=True),
    Column("tenant", _Name, ForeignKey("tenant.name"), nullable=False),
    Column("password_hash", Text, nullable=False),
    Column("role", Text, nullable=False),
)

key_value = Table(
    "key_value",
    metadata,
    Column("key", _Name, primary_key=True),
    Column("value", Text, nullable=False),
)


def create(connection: Connection, *, subject: str) -> None:
    """Create the tables in an empty database; check the version of one that has them.

    Runs in the caller's write transaction, so that two processes do not collide.

    Raises:
        NotSupported: a newer release wrote this catalog; nothing was changed.
    """
    for table in metadata.sorted_tables:
        connection.execute(CreateTable(table, if_not_exists=True))
    version = connection.execute(
        state.select().with_only_columns(state.c.value).where(state.c.name == "schema")
    ).scalar_one_or_none()
    if version is None:
        connection.execute(
            state.insert(),
            [{"name": "schema", "value": SCHEMA_VERSION}, {"name": "revision", "value": 0}],
        )
    elif version > SCHEMA_VERSION:
        raise NotSupported(
            f"its schema version is {version}, this release knows up to {SCHEMA_VERSION}",
            capability="schema_version",
            operation="open catalog",
            subject=subject,
            hint="upgrade zfsstore on this host",
        )
