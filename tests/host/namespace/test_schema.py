from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from modules.errors import NotSupported
from zfsstore.host.namespace import schema
from zfsstore.host.namespace.dialects import POSTGRESQL, SQLITE
from zfsstore.host.namespace.sqlite import VolumeDatabase
from zfsstore.host.namespace.statements import compile_statements
from zfsstore.host.namespace.store import Store

PINNED = Path(__file__).with_name("schema_v1.sql")


def test_a_released_schema_never_changes() -> None:
    """To change the tables add a migration; this file says what version 1 is for ever."""
    created = ";\n".join(schema.format_ddl(SQLITE, shared=False)) + ";\n"
    assert PINNED.read_text() == created


def test_both_dialects_have_the_same_tables_and_columns() -> None:
    sqlite = schema.format_ddl(SQLITE, shared=True)
    postgresql = schema.format_ddl(POSTGRESQL, shared=True)
    assert [s.split("(")[0].replace('"', "") for s in sqlite] == [
        s.split("(")[0].replace('"', "") for s in postgresql
    ]


def test_a_newer_schema_is_refused_and_left_alone(state_dir: Path) -> None:
    Store(VolumeDatabase(state_dir)).close()
    connection = sqlite3.connect(state_dir / "index.db")
    connection.execute(f"PRAGMA user_version={schema.SCHEMA_VERSION + 1}")
    connection.commit()
    connection.close()
    with pytest.raises(NotSupported, match="upgrade"):
        Store(VolumeDatabase(state_dir))


QUERIES = {
    "get": "version_current (bucket_id=? AND key=?)",
    "current": "version_current (bucket_id=? AND key=?)",
    "page": "version_current (bucket_id=? AND key>? AND key<?)",
    "any_current": "version_current (bucket_id=? AND key>? AND key<?)",
    "any_history": "version_history (bucket_id=?)",
    "find_object_id": "version_object_id (bucket_id=? AND object_id=?)",
    "live_blobs": "blob USING INTEGER PRIMARY KEY (rowid>?)",
    "pending": "pending_delete USING INTEGER PRIMARY KEY (rowid>?)",
    "extent_blobs": "extent USING PRIMARY KEY (version=?)",
}


@pytest.mark.parametrize("name", QUERIES)
def test_every_query_seeks_and_none_sorts(state_dir: Path, name: str) -> None:
    database = VolumeDatabase(state_dir)
    database.prepare()
    connection = database.connect()
    sql = getattr(compile_statements(SQLITE), name)
    parameters = dict.fromkeys(
        ("bucket_id", "key", "start", "end", "limit", "after", "before", "object_id", "row"), 1
    )
    plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}", parameters)]
    connection.close()
    assert any(QUERIES[name] in step for step in plan), plan
    assert not any("SCAN" in step for step in plan), plan
    if name != "get":  # which orders the few extents of one object
        assert not any("TEMP B-TREE" in step for step in plan), plan
