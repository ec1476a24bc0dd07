from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from modules.errors import NotSupported
from zfsstore.host.namespace import schema
from zfsstore.host.namespace.bucket_changes import new_bucket
from zfsstore.host.namespace.dialects import POSTGRESQL, SQLITE
from zfsstore.host.namespace.index import Index
from zfsstore.host.namespace.records import Draft
from zfsstore.host.namespace.snapshots import SnapshotDatabase
from zfsstore.host.namespace.sqlite import SharedSqliteDatabase, VolumeDatabase
from zfsstore.host.namespace.statements import compile_statements
from zfsstore.host.namespace.store import Store


def pinned(version: int) -> str:
    return Path(__file__).with_name(f"schema_v{version}.sql").read_text()


@pytest.mark.parametrize("version", range(1, schema.SCHEMA_VERSION + 1))
def test_a_released_schema_never_changes(version: int) -> None:
    """To change the tables add a migration; the files say what each version is for ever."""
    created = ";\n".join(schema.format_ddl(SQLITE, shared=False, version=version)) + ";\n"
    assert pinned(version) == created


def old_database(path: Path) -> None:
    """Make a volume's index as the first release made it, with a key."""
    connection = sqlite3.connect(path)
    connection.executescript(pinned(1))
    connection.execute("PRAGMA user_version=1")
    statements = compile_statements(SQLITE)
    connection.execute(statements.insert_bucket, new_bucket())
    connection.commit()
    connection.close()


def test_an_old_index_is_migrated(state_dir: Path) -> None:
    old_database(state_dir / "index.db")
    store = Store(VolumeDatabase(state_dir))
    index = Index(store)
    index.put("a", Draft())
    assert index.journal.status() is None
    index.journal.start("m")
    index.put("b", Draft())
    assert ["b"] == index.journal.changes()[0]
    store.close()


def test_an_old_index_in_a_snapshot_is_read_as_it_is(state_dir: Path, tmp_path: Path) -> None:
    old_database(state_dir / "index.db")
    store = Store(SnapshotDatabase(state_dir, tmp_path / "cache"))
    assert Index(store).get("a") is None
    assert 0 == Index(store).info().key_count
    store.close()
    connection = sqlite3.connect(state_dir / "index.db")
    assert (1,) == connection.execute("PRAGMA user_version").fetchone()
    connection.close()


def test_an_old_shared_database_is_migrated(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "shared.db")
    for statement in schema.format_ddl(SQLITE, shared=True, version=1):
        connection.execute(statement)
    connection.execute("INSERT INTO namespace_schema VALUES (1)")
    connection.commit()
    connection.close()
    for _ in range(2):
        store = Store(SharedSqliteDatabase(tmp_path / "shared.db"))
        with store.readers.borrow() as reader:
            assert [] == reader.execute(store.sql.published_volumes).fetchall()
            versions = reader.execute("SELECT version FROM namespace_schema").fetchall()
        assert [(1,), (2,)] == versions
        store.close()


def test_both_dialects_have_the_same_tables_and_columns() -> None:
    versions = range(1, schema.SCHEMA_VERSION + 1)
    sqlite = [s for v in versions for s in schema.format_ddl(SQLITE, shared=True, version=v)]
    postgresql = [
        s for v in versions for s in schema.format_ddl(POSTGRESQL, shared=True, version=v)
    ]
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
    "changed_keys": "changed_key USING INTEGER PRIMARY KEY (rowid>?)",
    "published": "published USING INDEX sqlite_autoindex_published_1 (bucket_id=?)",
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
