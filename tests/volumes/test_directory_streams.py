"""Streams of directory snapshots: what comes in counts whole and intact, or not at all."""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from modules.errors import (
    InvalidArgument,
    PermissionDenied,
    SnapshotNotFound,
    VolumeExists,
    VolumeNotFound,
)
from tests.volumes.contents import (
    add,
    backend,
    describe,
    frozen_items,
    items,
    live_items,
    remove,
)
from zfsstore import ZFSStorage
from zfsstore.volumes.directory_stream import Header, InStream
from zfsstore.zfs.errors import Diverged

SOURCE = "acme/photos"
COPY = "acme/copy"


@pytest.fixture
def source(store: ZFSStorage) -> str:
    """The uuid of a volume with the snapshots one, two and three."""
    store.volumes.create_volume("acme")
    uuid = store.volumes.create_volume(SOURCE)["uuid"]
    stays, goes = (add(store, SOURCE, content) for content in (b"stays" * 1000, b"goes"))
    backend(store).create_snapshot(uuid, "one")
    remove(store, SOURCE, goes)
    add(store, SOURCE, b"")
    backend(store).create_snapshot(uuid, "two")
    remove(store, SOURCE, stays)
    backend(store).create_snapshot(uuid, "three")
    return uuid


def sent(store: ZFSStorage, snapshot: str, base: str | None = None) -> bytes:
    with backend(store).send_stream(SOURCE, snapshot, base) as stream:
        return stream.read()


def receive(store: ZFSStorage, content: bytes, name: str = COPY, **options: Any) -> int:
    return backend(store).receive_stream(name, io.BytesIO(content), **options)


def test_copy_follows_its_source(store: ZFSStorage, source: str) -> None:
    assert receive(store, sent(store, "one")) == len(sent(store, "one"))
    receive(store, sent(store, "two", "one"))
    receive(store, sent(store, "three", "two"))
    for name in ("one", "two", "three"):
        assert frozen_items(store, COPY, name) == frozen_items(store, SOURCE, name)
    state = describe(store)
    assert state[COPY]["items"] == state[SOURCE]["items"] == [b""]
    assert state[COPY]["type"] == "dp"


def test_snapshots_may_be_skipped_and_the_stream_holds_the_difference_only(
    store: ZFSStorage, source: str
) -> None:
    header = InStream(io.BytesIO(sent(store, "three", "one"))).header()
    assert (header.objects, header.object_bytes, header.removed) == (1, 0, 2)
    receive(store, sent(store, "one"))
    receive(store, sent(store, "three", "one"))
    assert frozen_items(store, COPY, "three") == frozen_items(store, SOURCE, "three")


def test_uuid_is_kept_where_it_is_free(store: ZFSStorage, source: str, tmp_path: Path) -> None:
    receive(store, sent(store, "one"))
    other = ZFSStorage(directory=str(tmp_path / "other"))
    other.volumes.create_volume("acme")
    receive(other, sent(store, "one"))
    receive(other, sent(store, "one"), "acme/second", uuid="00000000-0000-4000-8000-000000000000")
    found = {v["name"]: v["uuid"] for v in other.volumes.list_volumes()}
    assert (found[COPY], found["acme/second"][:8]) == (source, "00000000")
    assert source in {v["uuid"] for v in store.volumes.list_volumes() if v["name"] == SOURCE}
    with pytest.raises(VolumeExists, match="uuid"):
        receive(other, sent(store, "one"), "acme/third", uuid=source)
    for uuid in ("", "x"):
        with pytest.raises(InvalidArgument):
            receive(other, sent(store, "one"), "acme/third", uuid=uuid)


def test_replica_is_read_only_until_it_is_broken_off(store: ZFSStorage, source: str) -> None:
    receive(store, sent(store, "one"))
    (first, *_rest) = frozen_items(store, COPY, "one")
    for change in (
        lambda: store.put({"tenant": COPY}, io.BytesIO(b"x")),
        lambda: store.delete({"tenant": COPY}, first),
    ):
        with pytest.raises(PermissionDenied, match="replica"):
            change()
    replica = next(v for v in store.volumes.list_volumes() if v["name"] == COPY)
    assert backend(store).break_off_volume(replica["uuid"])["vol_type"] == "rw"
    add(store, COPY, b"own")
    with pytest.raises(Diverged, match="changed"):
        receive(store, sent(store, "two", "one"))
    receive(store, sent(store, "two", "one"), rollback=True)
    assert frozen_items(store, COPY, "two") == live_items(store, COPY)


def test_opening_the_replica_s_database_is_no_change_but_writing_is(
    store: ZFSStorage, source: str
) -> None:
    receive(store, sent(store, "one"))
    live_items(store, COPY)
    receive(store, sent(store, "two", "one"))
    with closing(items(store, COPY)) as connection:
        connection.execute("DELETE FROM item")
    with pytest.raises(Diverged, match="changed"):
        receive(store, sent(store, "three", "two"))


def test_stream_that_does_not_fit_changes_nothing(store: ZFSStorage, source: str) -> None:
    receive(store, sent(store, "one"))
    before = describe(store)
    incremental = sent(store, "three", "two")
    with pytest.raises(Diverged, match="builds on the snapshot 'two'"):
        receive(store, incremental)
    with pytest.raises(Diverged):
        receive(store, incremental, "acme/photos")
    with pytest.raises(VolumeNotFound):
        receive(store, incremental, "acme/absent")
    with pytest.raises(VolumeExists):
        receive(store, sent(store, "one"))
    with pytest.raises(VolumeNotFound):
        receive(store, sent(store, "one"), "absent/copy")
    copy = next(v["uuid"] for v in store.volumes.list_volumes() if v["name"] == COPY)
    one = backend(store).list_snapshots(copy)[0]["uuid"]
    assert describe(store) == before
    backend(store).create_snapshot(copy, "two")
    backend(store).delete_snapshot(copy, backend(store).list_snapshots(copy)[1]["uuid"])
    assert backend(store).list_snapshots(copy)[0]["uuid"] == one
    backend(store).rollback_volume(copy, one)
    receive(store, sent(store, "two", "one"))
    with pytest.raises(Diverged):
        receive(store, sent(store, "two", "one"))


def test_stream_ends_when_the_snapshot_is_deleted(store: ZFSStorage, source: str) -> None:
    stream = backend(store).send_stream(SOURCE, "one")
    stream.read(1)
    (one, *_rest) = backend(store).list_snapshots(source)
    backend(store).delete_snapshot(source, one["uuid"])
    with pytest.raises(SnapshotNotFound, match="meanwhile"):
        stream.read()


def test_stream_that_raises_leaves_nothing(store: ZFSStorage, root: Path, source: str) -> None:
    class Failing(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            if self.tell() > 6000:
                raise ConnectionResetError("gone")
            return super().read(min(size or 0, 1000))

    with pytest.raises(Exception, match="gone"):
        backend(store).receive_stream(COPY, Failing(sent(store, "one")))
    assert [v["name"] for v in store.volumes.list_volumes()] == ["acme", SOURCE]
    assert os.listdir(root / ".zfsstore/work") == []


def test_any_tar_reads_the_stream(store: ZFSStorage, source: str) -> None:
    content = sent(store, "one")
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        names = archive.getnames()
        end = archive.extractfile(names[-1])
        assert end is not None
        digest = json.loads(end.read())["sha256"]
        offset = archive.getmember(names[-1]).offset
    assert (names[0], names[1], names[-1]) == ("header.json", "state/index.db", "end.json")
    assert digest == hashlib.sha256(content[:offset]).hexdigest()
    assert isinstance(InStream(io.BytesIO(content)).header(), Header)
