"""The tables of the namespace: the same in a volume's SQLite database and in a shared SQL one.

    bucket ─< version ─< extent >─ blob          pending_delete

- A *blob* is what one put into a storage module gave. Versions refer to it through *extents*, so
  copies, compositions, versions and unfinished uploads share blobs; ``refs`` counts the extents
  (and, later, upload parts) that need it. At zero its row becomes a ``pending_delete``.
- A *version* with ``place`` 0 is the one that a key shows; everything else of a key (noncurrent
  versions, delete markers) has place 1. So the current keys of a bucket are one contiguous range
  of the index ``version_current``, however long their history is.
- Inside a volume there is one bucket, with id 1 and no name: the volume can be renamed or cloned.
- A *published* bucket is shown as files, too; only then does each change of a key add a
  ``changed_key`` (zfsstore.host.namespace.journal). Since version 2.

No foreign keys: SQLite would need an index on each referring column to check a delete, and every
write goes through zfsstore.host.namespace.transaction, which keeps the counts.
"""

from __future__ import annotations

import sqlite3
from typing import Final

from sqlalchemy import (
    BigInteger,
    Column,
    Dialect,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
    text,
)
from sqlalchemy.schema import CreateIndex, CreateTable

from modules.state import Migration
from zfsstore.host.namespace.dialects import SQLITE

SCHEMA_VERSION: Final = 2
VOLUME_BUCKET_ID: Final = 1
CURRENT: Final = 0
HISTORY: Final = 1

metadata = MetaData()
_id = BigInteger().with_variant(Integer, "sqlite")


bucket = Table(
    "bucket",
    metadata,
    Column("id", _id, primary_key=True),
    Column("tenant", LargeBinary, nullable=False, comment="UTF-8; empty inside a volume"),
    Column("name", LargeBinary, nullable=False, comment="UTF-8; empty inside a volume"),
    Column("module", Text, nullable=False, comment="vendor module at creation; empty in a volume"),
    Column(
        "object_id", LargeBinary, nullable=False, comment="16 bytes; the first 4 mark the bucket"
    ),
    Column("state", SmallInteger, nullable=False, comment="0 in use, 1 being deleted"),
    Column("quota_bytes", BigInteger),
    Column("created_at", BigInteger, nullable=False, comment="microseconds since 1970"),
    Column("key_count", BigInteger, nullable=False, comment="versions with place 0"),
    Column("size_bytes", BigInteger, nullable=False, comment="of all versions"),
    Column("settings", Text, comment="JSON: versioning and what else a front end keeps"),
    Index("bucket_name", "tenant", "name", unique=True),
)

blob = Table(
    "blob",
    metadata,
    Column("id", _id, primary_key=True),
    Column("bucket_id", BigInteger, nullable=False),
    Column("module", Text, nullable=False),
    Column("module_data", Text, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("refs", Integer, nullable=False),
)
blob_bucket = Index("blob_bucket", blob.c.bucket_id, blob.c.id)
"""For the live set of one bucket among many; not in a volume, which has only one."""

version = Table(
    "version",
    metadata,
    Column("id", _id, primary_key=True),
    Column("bucket_id", BigInteger, nullable=False),
    Column("place", SmallInteger, nullable=False, comment="0 current, 1 history"),
    Column("key", LargeBinary, nullable=False, comment="UTF-8, so that order is byte order"),
    Column("version_id", LargeBinary, nullable=False, comment="16 bytes; newer sort first"),
    Column("object_id", LargeBinary, nullable=False, comment="16 bytes; kept when replaced"),
    Column("kind", SmallInteger, nullable=False, comment="0 object, 1 container, 2 delete marker"),
    Column("is_null", SmallInteger, nullable=False, comment='1: S3 calls this version "null"'),
    Column("size", BigInteger, nullable=False),
    Column("etag", Text, comment="NULL: the version_id in hexadecimal"),
    Column("content_type", Text),
    Column("metadata", Text, comment="JSON, the user's"),
    Column("attributes", Text, comment="JSON, the front ends': headers, checksums, tags, locks"),
    Column("created_at", BigInteger, nullable=False, comment="of the object"),
    Column("modified_at", BigInteger, nullable=False, comment="of this version"),
)
Index(
    "version_current",
    version.c.bucket_id,
    version.c.key,
    unique=True,
    sqlite_where=text("place = 0"),
    postgresql_where=text("place = 0"),
)
Index(
    "version_history",
    version.c.bucket_id,
    version.c.key,
    version.c.version_id,
    unique=True,
    sqlite_where=text("place = 1"),
    postgresql_where=text("place = 1"),
)
Index(
    "version_object_id",
    version.c.bucket_id,
    version.c.object_id,
    unique=True,
    sqlite_where=text("place = 0"),
    postgresql_where=text("place = 0"),
)

extent = Table(
    "extent",
    metadata,
    Column("version", BigInteger, primary_key=True, autoincrement=False),
    Column("ordinal", Integer, primary_key=True, autoincrement=False),
    Column("blob", BigInteger, nullable=False),
    Column("offset", BigInteger, nullable=False),
    Column("length", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

pending_delete = Table(
    "pending_delete",
    metadata,
    Column("id", _id, primary_key=True),
    Column("bucket_id", BigInteger, nullable=False),
    Column("module", Text, nullable=False),
    Column("module_data", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
)

published = Table(
    "published",
    metadata,
    Column("bucket_id", BigInteger, primary_key=True, autoincrement=False),
    Column("module", Text, nullable=False, comment="vendor module that shows the files"),
    Column("state", SmallInteger, nullable=False, comment="0 current, 1 to be cleared, 2 building"),
    Column("position", LargeBinary, nullable=False, comment="the last key that was built"),
    Column("sequence", BigInteger, nullable=False, comment="counts what was shown"),
    Column("created_at", BigInteger, nullable=False),
    info={"since": 2},
)

changed_key = Table(
    "changed_key",
    metadata,
    Column("id", _id, primary_key=True),
    Column("bucket_id", BigInteger, nullable=False),
    Column("key", LargeBinary, nullable=False),
    info={"since": 2},
)
changed_key_bucket = Index("changed_key_bucket", changed_key.c.bucket_id, changed_key.c.id)
"""Not in a volume, which has one bucket only."""

published_volume = Table(
    "published_volume",
    metadata,
    Column("tenant", LargeBinary, primary_key=True),
    Column("name", LargeBinary, primary_key=True),
    Column("module", Text, nullable=False),
    info={"since": 2},
)
"""In a shared database: in which volumes to look for changes, after a crash. May be stale."""

namespace_schema = Table(
    "namespace_schema",
    metadata,
    Column("version", Integer, primary_key=True, autoincrement=False),
)
"""In a shared database, which others use too, the version is kept here; else in user_version."""


_SHARED_TABLES: Final = (namespace_schema, published_volume)
_SHARED_INDEXES: Final = (blob_bucket, changed_key_bucket)


def format_ddl(dialect: Dialect, *, shared: bool, version: int = 1) -> list[str]:
    """Return the statements that create what *version* of the schema added, in order.

    Args:
        shared: for a database of many buckets, instead of one inside a volume.
    """
    statements = []
    for table in metadata.sorted_tables:
        if table.info.get("since", 1) != version:
            continue
        if shared or table not in _SHARED_TABLES:
            statements.append(_compile(CreateTable(table), dialect))
        for index in sorted(table.indexes, key=lambda index: str(index.name)):
            if shared or index not in _SHARED_INDEXES:
                statements.append(_compile(CreateIndex(index), dialect))
    return statements


def _compile(element: CreateTable | CreateIndex, dialect: Dialect) -> str:
    return "\n".join(
        line.rstrip() for line in str(element.compile(dialect=dialect)).strip().split("\n")
    )


def _create_version(version: int) -> Migration:
    def create(connection: sqlite3.Connection) -> None:
        for statement in format_ddl(SQLITE, shared=False, version=version):
            connection.execute(statement)

    return create


MIGRATIONS: Final[tuple[Migration, ...]] = tuple(
    _create_version(version) for version in range(1, SCHEMA_VERSION + 1)
)
"""For modules.state.migrate; tests/host/namespace/schema_v*.sql pin what each version added."""
