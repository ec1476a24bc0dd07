"""A snapshot can never be migrated: indexes of every released schema version stay readable.

released/v*.sql are such indexes as they were written, with data. They never change; whoever adds
a version adds its file.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from modules.errors import NotSupported, SnapshotNotFound
from zfsstore.host.namespace import schema
from zfsstore.host.namespace.index import Index
from zfsstore.host.namespace.records import Draft
from zfsstore.host.namespace.snapshots import SnapshotDatabase
from zfsstore.host.namespace.sqlite import VolumeDatabase
from zfsstore.host.namespace.store import Store

RELEASED = Path(__file__).with_name("released")
VERSIONS = range(1, schema.SCHEMA_VERSION + 1)


def write(state_dir: Path, version: int) -> None:
    connection = sqlite3.connect(state_dir / "index.db")
    connection.executescript((RELEASED / f"v{version}.sql").read_text())
    connection.close()


def check(index: Index) -> None:
    """Check all that the files hold."""
    assert [("b", 11), ("composed", 9), ("trips/", None), ("zürich", 0)] == [
        (item.key, getattr(item, "size_bytes", None))
        for item in index.list_keys(delimiter="/").items
    ]
    photo = index.get("trips/a.jpg")
    assert photo is not None
    assert ("image/jpeg", {"who": "me"}) == (photo.content_type, photo.metadata)
    assert [f"z1:main:{'a' * 32}"] == [extent.blob.module_data for extent in photo.extents]
    composed = index.get("composed")
    assert composed is not None
    assert [(1, 3), (0, 6)] == [(extent.offset, extent.length) for extent in composed.extents]
    assert index.get("gone") is None
    assert index.is_container("trips/")
    assert 5 == index.info().key_count
    assert ["b", "0"] == [pending.module_data[-1] for pending in index.pending()]
    assert sorted("abcdef0") == sorted(data[-1] for data in index.live_module_data("default"))
    assert "trips/a.jpg" == index.find_object_id(photo.object_id)


@pytest.mark.parametrize("version", VERSIONS)
def test_in_a_snapshot(state_dir: Path, tmp_path: Path, version: int) -> None:
    write(state_dir, version)
    before = (state_dir / "index.db").read_bytes()
    state_dir.chmod(0o500)
    store = Store(SnapshotDatabase(state_dir, tmp_path / "copy"))
    check(Index(store))
    store.close()
    state_dir.chmod(0o700)
    assert ["index.db"] == [path.name for path in state_dir.iterdir()]
    assert before == (state_dir / "index.db").read_bytes()


@pytest.mark.parametrize("version", VERSIONS)
def test_in_a_volume(state_dir: Path, version: int) -> None:
    write(state_dir, version)
    store = Store(VolumeDatabase(state_dir))
    index = Index(store)
    check(index)
    assert index.put("new", Draft()).created
    store.close()


def test_one_of_a_newer_release_is_refused(state_dir: Path, tmp_path: Path) -> None:
    write(state_dir, 1)
    connection = sqlite3.connect(state_dir / "index.db")
    connection.execute(f"PRAGMA user_version={schema.SCHEMA_VERSION + 1}")
    connection.close()
    with pytest.raises(NotSupported, match="upgrade zfsstore"):
        Store(SnapshotDatabase(state_dir, tmp_path / "copy"))


def test_an_empty_one_is_of_a_bucket_that_was_not_complete(state_dir: Path, tmp_path: Path) -> None:
    (state_dir / "index.db").touch()
    with pytest.raises(SnapshotNotFound, match="complete"):
        Store(SnapshotDatabase(state_dir, tmp_path / "copy"))
