"""Snapshots of directories: one consistent state each, whatever goes on meanwhile."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
import time
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from modules.errors import Busy, SnapshotExists, VolumeNotFound
from modules.state import open_database
from tests.volumes.contents import add, backend, frozen_items, items, remove
from zfsstore import ZFSStorage
from zfsstore.volumes import delete_fence

BUCKET = "acme/photos"


@pytest.fixture
def bucket(store: ZFSStorage) -> str:
    """The uuid of a bucket."""
    store.volumes.create_volume("acme")
    return store.volumes.create_volume(BUCKET)["uuid"]


def objects_of(path: Path) -> list[Path]:
    return sorted(path.glob(".zfsstore/objects/*/*/*"))


def test_open_databases_are_frozen_with_what_is_only_in_their_wal(
    store: ZFSStorage, bucket: str
) -> None:
    state = store.state_dir({"tenant": BUCKET})
    with closing(items(store, BUCKET)) as index, closing(open_database(state, "dedup")) as other:
        other.execute("CREATE TABLE chunk (digest BLOB)")
        index.execute("INSERT INTO item VALUES ('z1:main:0', x'00')")
        index.execute("DELETE FROM item")
        made = backend(store).create_snapshot(bucket, "now")
    frozen = store.state_dir({"tenant": BUCKET, "snapshot": "now"})
    assert sorted(os.listdir(frozen)) == ["dedup.db", "index.db"]
    assert made["size_consumed"] == sum(path.stat().st_size for path in frozen.iterdir())
    assert frozen_items(store, BUCKET, "now") == {}


def test_objects_are_shared_and_stay_when_the_live_ones_are_deleted(
    store: ZFSStorage, root: Path, bucket: str
) -> None:
    module_data = add(store, BUCKET, b"shared")
    backend(store).create_snapshot(bucket, "now")
    (live,) = objects_of(root / BUCKET)
    (frozen,) = objects_of(root / BUCKET / ".zfsstore/snapshots/now")
    assert live.samefile(frozen)
    remove(store, BUCKET, module_data)
    assert frozen.stat().st_nlink == 1
    assert frozen_items(store, BUCKET, "now") == {module_data: b"shared"}


def test_every_instance_is_frozen_and_uploads_in_flight_are_not(
    store: ZFSStorage, root: Path, bucket: str
) -> None:
    other = ZFSStorage(directory=str(root), instance="other")
    module_data = add(other, BUCKET, b"of another instance")
    leaf = root / BUCKET / ".zfsstore/objects/main/ab"
    (leaf / ".tmp-ab00").write_bytes(b"half")
    backend(store).create_snapshot(bucket, "now")
    frozen = objects_of(root / BUCKET / ".zfsstore/snapshots/now")
    assert [path.name for path in frozen] == [module_data.rpartition(":")[2]]
    assert frozen_items(other, BUCKET, "now") == {module_data: b"of another instance"}


def test_file_with_too_many_names_is_copied(
    store: ZFSStorage, root: Path, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    module_data = add(store, BUCKET, b"popular")

    def link(*_: Any, **__: Any) -> None:
        raise OSError(errno.EMLINK, "Too many links")

    with monkeypatch.context() as patch:
        patch.setattr(os, "link", link)
        backend(store).create_snapshot(bucket, "now")
    (live,) = objects_of(root / BUCKET)
    (frozen,) = objects_of(root / BUCKET / ".zfsstore/snapshots/now")
    assert not live.samefile(frozen)
    assert frozen.stat().st_mode == live.stat().st_mode
    assert frozen.stat().st_mtime_ns == live.stat().st_mtime_ns
    assert frozen_items(store, BUCKET, "now") == {module_data: b"popular"}


def test_snapshots_do_not_count_to_the_quota(store: ZFSStorage) -> None:
    tenant = store.volumes.create_volume("acme", 1000)["uuid"]
    bucket = store.volumes.create_volume(BUCKET, 100)["uuid"]
    module_data = add(store, BUCKET, bytes(60))
    backend(store).create_snapshot(bucket, "now")
    remove(store, BUCKET, module_data)
    add(store, BUCKET, bytes(90))
    store.sweep({"tenant": BUCKET}, [], older_than=timedelta(days=1), dry_run=False)
    for uuid in (tenant, bucket):
        volume = store.volumes.get_volume(uuid)
        assert volume is not None
        assert volume["used_bytes"] == 90


def test_delete_waits_for_a_snapshot_and_put_does_not(store: ZFSStorage, bucket: str) -> None:
    module_data = add(store, BUCKET, b"deleted")
    fence = store.fence({"tenant": BUCKET})
    with delete_fence.alone(fence):
        with pytest.raises(Busy, match="snapshot"):
            store.delete({"tenant": BUCKET}, module_data)
        assert store.available({"tenant": BUCKET}, module_data)
        add(store, BUCKET, b"put meanwhile")
    store.delete({"tenant": BUCKET}, module_data)
    assert not store.available({"tenant": BUCKET}, module_data)


def test_snapshot_waits_for_a_delete(store: ZFSStorage, bucket: str) -> None:
    hold = delete_fence.hold(store.fence({"tenant": BUCKET}))
    thread = threading.Thread(target=backend(store).create_snapshot, args=(bucket, "now"))
    thread.start()
    deadline = time.monotonic() + 30
    while not hold.is_draining and time.monotonic() < deadline:
        time.sleep(0.001)
    assert hold.is_draining
    assert backend(store).list_snapshots(bucket) == []
    hold.release()
    thread.join()
    assert [one["name"] for one in backend(store).list_snapshots(bucket)] == ["now"]


def test_many_are_frozen_or_none(store: ZFSStorage, root: Path, bucket: str) -> None:
    other = store.volumes.create_volume("acme/other")["uuid"]
    made = backend(store).create_snapshots([bucket, other, bucket], "both")
    assert [snapshot["name"] for snapshot in made] == ["both", "both"]
    backend(store).create_snapshot(other, "clash")
    with pytest.raises(SnapshotExists):
        backend(store).create_snapshots([bucket, other], "clash")
    with pytest.raises(VolumeNotFound):
        backend(store).create_snapshots([bucket, "unknown"], "third")
    assert [one["name"] for one in backend(store).list_snapshots(bucket)] == ["both"]
    assert os.listdir(root / ".zfsstore/work") == []


def test_damaged_record_does_not_hide_the_other_snapshots(
    store: ZFSStorage, root: Path, bucket: str, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("a", "b", "c"):
        backend(store).create_snapshot(bucket, name)
    record = root / BUCKET / ".zfsstore/snapshots/b/.zfsstore/snapshot.json"
    record.unlink()
    record.write_text("{}")
    assert [one["name"] for one in backend(store).list_snapshots(bucket)] == ["a", "c"]
    assert "damaged" in caplog.text


def test_snapshot_is_younger_than_all_before_it_when_the_clock_goes_back(
    store: ZFSStorage, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = backend(store).create_snapshot(bucket, "first")
    clone = backend(store).create_clone(bucket, first["uuid"], "acme/clone")["uuid"]
    monkeypatch.setattr("time.time_ns", lambda: 0)
    backend(store).create_snapshot(bucket, "second")
    backend(store).create_snapshot(clone, "third")
    listed = [one["name"] for one in backend(store).list_snapshots(bucket)]
    assert listed == ["first", "second"]
    backend(store).promote_volume(clone)
    listed = [one["name"] for one in backend(store).list_snapshots(clone)]
    assert listed == ["first", "third"]


_LOAD = """
import os, sys
from modules.errors import Busy
from tests.volumes.contents import add, remove
from zfsstore import ZFSStorage
store = ZFSStorage(directory=sys.argv[1])
for turn in range(10**6):
    module_data = add(store, "acme/photos", b"%s %d" % (sys.argv[2].encode(), turn))
    if turn % 2:
        try:
            remove(store, "acme/photos", module_data)
        except Busy:
            pass
    os.write(1, b".")
"""


def test_snapshots_under_the_load_of_four_processes_read_back_consistent(
    store: ZFSStorage, root: Path, bucket: str
) -> None:
    counts = []
    workers = []
    index = items(store, BUCKET)  # one is open all the while, as a host has it
    try:
        for name in "abcd":
            argv = [sys.executable, "-c", _LOAD, str(root), name]
            workers.append(subprocess.Popen(argv, stdout=subprocess.PIPE))
        for worker in workers:
            assert worker.stdout is not None
            assert worker.stdout.read(4) == b"...."
        for number in range(8):
            mark = add(store, BUCKET, b"before %d" % number)
            backend(store).create_snapshot(bucket, f"s{number}")
            late = add(store, BUCKET, b"after %d" % number)
            found = frozen_items(store, BUCKET, f"s{number}")
            assert mark in found
            assert late not in found
            counts.append(len(found))
    finally:
        for worker in workers:
            worker.kill()
            worker.communicate()
        index.close()
    assert counts[-1] > counts[0]
    for number in range(8):  # and still, after all that was deleted since
        assert len(frozen_items(store, BUCKET, f"s{number}")) == counts[number]
