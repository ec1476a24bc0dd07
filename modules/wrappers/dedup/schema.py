"""The tables of the index, as SQLite is told; docs/formats.md."""

from __future__ import annotations

from typing import Any, Final

DATABASE_NAME: Final = "dedup"

PACK_OPEN: Final = 0
PACK_LIVE: Final = 1
PACK_DEAD: Final = 2

OBJECT_LIVE: Final = 0
OBJECT_QUARANTINED: Final = 1

TABLES: Final = (
    "CREATE TABLE domain (id BLOB PRIMARY KEY, record BLOB NOT NULL) WITHOUT ROWID",
    # one row: the epoch, and sums of the live objects
    """CREATE TABLE total (
        epoch INTEGER NOT NULL, objects INTEGER NOT NULL, object_bytes INTEGER NOT NULL)""",
    "INSERT INTO total VALUES (1, 0, 0)",
    """CREATE TABLE session (
        id BLOB PRIMARY KEY, start_epoch INTEGER NOT NULL, lease_until REAL NOT NULL,
        generation INTEGER NOT NULL) WITHOUT ROWID""",
    """CREATE TABLE pack (
        no INTEGER PRIMARY KEY, uid BLOB NOT NULL UNIQUE, state INTEGER NOT NULL,
        module_data TEXT NOT NULL, bytes INTEGER NOT NULL, live_bytes INTEGER NOT NULL,
        live_blobs INTEGER NOT NULL, epoch INTEGER NOT NULL, changed_at REAL NOT NULL)""",
    """CREATE TABLE chunk (
        id BLOB PRIMARY KEY, kind INTEGER NOT NULL, pack INTEGER NOT NULL,
        "offset" INTEGER NOT NULL, stored_bytes INTEGER NOT NULL, plain_bytes INTEGER NOT NULL,
        codec INTEGER NOT NULL,
        refs INTEGER NOT NULL, zero_epoch INTEGER NOT NULL) WITHOUT ROWID""",
    "CREATE INDEX chunk_zero ON chunk (zero_epoch, id) WHERE refs = 0",
    """CREATE TABLE object (
        uid BLOB PRIMARY KEY, root BLOB NOT NULL, length INTEGER NOT NULL, state INTEGER NOT NULL,
        changed_at REAL NOT NULL) WITHOUT ROWID""",
)


def _create(connection: Any) -> None:
    for statement in TABLES:
        connection.execute(statement)


MIGRATIONS: Final = (_create,)
