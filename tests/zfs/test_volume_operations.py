"""Rename, trash, destroy; who waits for whom; what others do behind our back."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from modules import fences
from modules.errors import (
    Busy,
    HasDependents,
    InvalidArgument,
    VolumeExists,
    VolumeNotFound,
)
from tests.storage.helpers import get, put
from tests.zfs.datasets import named, path_of, value, zfs
from tests.zfs.indexed import new_tenant, read, record, snapshot, write, zfs_volumes
from tests.zfs.test_volume_snapshots import dataset_of, kill_after
from zfsstore import ZFSStorage
from zfsstore.volumes.datasets import UUID
from zfsstore.zfs.runner import LocalRunner

pytestmark = pytest.mark.zfs

NOW = timedelta(0)


def test_bucket_is_renamed_moved_and_read_with_its_snapshots(
    store: ZFSStorage, root_dataset: str, tmp_path: Path
) -> None:
    volumes = zfs_volumes(store)
    tenant, other = new_tenant(store, "b", "taken"), new_tenant(store)
    write(store, f"{tenant}/b", "key", b"content")
    volume = named(store, f"{tenant}/b")
    snapshot(store, volume, "s")
    assert read(store, f"{tenant}/b@s", tmp_path) == {"key": b"content"}  # mounts the snapshot
    old_path = path_of(store, f"{tenant}/b")
    with pytest.raises(VolumeExists):
        volumes.rename_volume(volume["uuid"], f"{tenant}/taken")
    with pytest.raises(VolumeNotFound, match="tenant"):
        volumes.rename_volume(volume["uuid"], "nobody/b")
    name = f"{other}/{'Ü' * 80}"
    renamed = volumes.rename_volume(volume["uuid"], name)
    assert (renamed["name"], renamed["uuid"]) == (name, volume["uuid"])
    assert not old_path.exists()
    assert record(store, name)["name"] == "Ü" * 80
    assert read(store, name) == read(store, f"{name}@s", tmp_path) == {"key": b"content"}
    with pytest.raises(VolumeNotFound):
        put(store, {"tenant": f"{tenant}/b"}, b"x")
    assert named(ZFSStorage(dataset=root_dataset), name)["uuid"] == volume["uuid"]
    assert volumes.rename_volume(volume["uuid"], name)["name"] == name

    tenant_volume = named(store, other)
    moved = f"{other}-new"
    download = store.get_read_stream({"tenant": name}, put(store, {"tenant": name}, b"open"))
    with download, pytest.raises(Busy):
        volumes.rename_volume(tenant_volume["uuid"], moved)
    assert read(store, name) == {"key": b"content"}
    volumes.rename_volume(tenant_volume["uuid"], moved)
    assert read(store, f"{moved}/{'Ü' * 80}") == {"key": b"content"}
    assert named(store, f"{moved}/{'Ü' * 80}")["state"] == "online"


@pytest.mark.parametrize("command", ["set", "rename"])
def test_rename_that_was_cut_off_leaves_one_name_and_is_completed(
    store: ZFSStorage, root_dataset: str, command: str
) -> None:
    tenant = new_tenant(store)
    old, new = f"{tenant}/{'O' * 90}", f"{tenant}/{'N' * 90}"
    volume = store.volumes.create_volume(old)
    module_data = put(store, {"tenant": old}, b"content")
    kill_after(command, root_dataset, "rename_volume", volume["uuid"], new)
    expected = old if command == "set" else new
    (left,) = (v for v in store.volumes.list_volumes() if v["uuid"] == volume["uuid"])
    assert (left["name"], left["state"]) == (expected, "online")
    assert get(store, {"tenant": expected}, module_data) == b"content"
    assert zfs_volumes(store).rename_volume(volume["uuid"], new)["name"] == new
    assert record(store, new)["name"] == "N" * 90
    assert get(store, {"tenant": new}, module_data) == b"content"


def test_rename_waits_for_a_download_and_delete_for_whoever_holds_the_fence(
    root_dataset: str,
) -> None:
    local = LocalRunner()
    at_failure: list[Callable[[], None]] = []

    def runner(argv: Any) -> Any:
        result = local(argv)
        if argv[1] == "rename" and not result["success"]:
            while at_failure:
                at_failure.pop()()
        return result

    store = ZFSStorage(dataset=root_dataset, runner=runner)
    volumes = zfs_volumes(store)
    volumes.patience_s = 60.0
    bucket = f"{new_tenant(store, 'b')}/b"
    volume = named(store, bucket)
    module_data = put(store, {"tenant": bucket}, b"content")
    at_failure.append(store.get_read_stream({"tenant": bucket}, module_data).close)
    volumes.rename_volume(volume["uuid"], f"{bucket}-new")
    assert not at_failure
    assert get(store, {"tenant": f"{bucket}-new"}, module_data) == b"content"

    held = fences.hold(store.fence({"tenant": f"{bucket}-new"}))
    deleting = threading.Thread(target=volumes.delete_volume, args=(volume["uuid"],))
    deleting.start()
    waited = threading.Event()
    while not held.is_draining and deleting.is_alive():
        waited.wait(0.01)
    assert deleting.is_alive()
    assert volumes.get_volume(volume["uuid"]) is not None
    held.release()
    deleting.join()
    assert volumes.get_volume(volume["uuid"]) is None


def test_trash_keeps_what_clones_need_and_gives_back_what_was_deleted(
    store: ZFSStorage, root_dataset: str, tmp_path: Path
) -> None:
    volumes = zfs_volumes(store)
    tenant = new_tenant(store, "b")
    write(store, f"{tenant}/b", "key", b"content")
    bucket = named(store, f"{tenant}/b")
    clone = volumes.create_clone(bucket["uuid"], snapshot(store, bucket, "s"), f"{tenant}/c")
    other = new_tenant(store)
    volumes.rename_volume(clone["uuid"], f"{other}/c")

    volumes.delete_volume(bucket["uuid"])
    (entry,) = (one for one in volumes.list_trash() if one.uuid == bucket["uuid"])
    assert entry.name == f"{tenant}/b"
    assert entry.trashed_at is not None
    origin = {"parent_volume": f"{tenant}/b", "parent_snapshot": "s"}
    assert named(store, f"{other}/c")["clone"] == origin
    assert read(store, f"{other}/c") == {"key": b"content"}
    back = volumes.restore_volume(entry.id)
    assert (back["uuid"], back["name"], back["state"]) == (bucket["uuid"], f"{tenant}/b", "online")
    assert read(store, f"{tenant}/b@s", tmp_path) == {"key": b"content"}
    with pytest.raises(VolumeNotFound):
        volumes.restore_volume(entry.id)

    whole = named(store, tenant)
    volumes.delete_volume(whole["uuid"])
    (entry,) = (one for one in volumes.list_trash() if one.uuid == whole["uuid"])
    assert named(store, f"{other}/c")["clone"] == origin  # its origin lies two levels down
    with pytest.raises(VolumeExists):
        volumes.restore_volume(entry.id, other)
    with pytest.raises(InvalidArgument, match="cannot become"):
        volumes.restore_volume(entry.id, f"{other}/x")
    assert volumes.empty_trash(older_than=timedelta(days=1), dry_run=False) == []
    assert entry not in volumes.empty_trash(older_than=NOW)
    assert entry not in volumes.empty_trash(older_than=NOW, dry_run=False)
    restored = volumes.restore_volume(entry.id, f"{tenant}-back")
    assert restored["uuid"] == whole["uuid"]
    assert read(store, f"{tenant}-back/b") == {"key": b"content"}
    write(store, f"{tenant}-back/b", "key", b"more")

    volumes.delete_volume(whole["uuid"])
    volumes.promote_volume(clone["uuid"])
    planned = volumes.empty_trash(older_than=NOW)
    assert whole["uuid"] in [one.uuid for one in planned]
    assert volumes.empty_trash(older_than=NOW, dry_run=False) == planned
    assert volumes.list_trash() == []
    assert read(store, f"{other}/c@s", tmp_path) == {"key": b"content"}


def test_destroy_says_what_goes_and_what_stands_in_the_way(
    store: ZFSStorage, root_dataset: str
) -> None:
    volumes = zfs_volumes(store)
    tenant, other = new_tenant(store, "b"), new_tenant(store)
    bucket = named(store, f"{tenant}/b")
    put(store, {"tenant": f"{tenant}/b"}, b"x" * 1_000_000)
    clone = volumes.create_clone(bucket["uuid"], snapshot(store, bucket, "s"), f"{other}/c")
    whole = named(store, tenant)
    for call in (volumes.plan_destroy, volumes.destroy_volume):
        with pytest.raises(HasDependents, match=f"1 clone of it: {other}/c"):
            call(whole["uuid"])
    volumes.promote_volume(clone["uuid"])
    volumes.create_snapshot(bucket["uuid"], "t")
    plan = volumes.plan_destroy(whole["uuid"])
    assert sorted(plan.names) == [tenant, f"{tenant}/b", f"{tenant}/b@t"]
    assert plan.reclaim_bytes > 0
    with fences.hold(store.fence({"tenant": f"{tenant}/b"})), pytest.raises(Busy):
        volumes.destroy_volume(whole["uuid"])
    volumes.destroy_volume(whole["uuid"])
    assert volumes.get_volume(bucket["uuid"]) is None
    assert volumes.get_volume(whole["uuid"]) is None
    assert named(store, f"{other}/c")["state"] == "online"
    with pytest.raises(VolumeNotFound):
        volumes.plan_destroy(whole["uuid"])


def test_copies_made_by_hand_get_uuids_of_their_own(store: ZFSStorage, root_dataset: str) -> None:
    tenant = new_tenant(store, "b")
    original = named(store, f"{tenant}/b")
    dataset = dataset_of(root_dataset, f"{tenant}/b")
    zfs("snapshot", f"{dataset}@s")
    shell = f"zfs send -p {dataset}@s | zfs receive {root_dataset}/{tenant}/copy"
    subprocess.run(["sh", "-c", shell], check=True)
    zfs("clone", "-o", f"{UUID}={original['uuid']}", f"{dataset}@s", f"{dataset}-clone")
    assert value(f"{root_dataset}/{tenant}/copy", UUID) == original["uuid"]

    first = {v["name"]: v["uuid"] for v in store.volumes.list_volumes()}
    assert first[f"{tenant}/b"] == original["uuid"]
    assert len({first[f"{tenant}/{name}"] for name in ("b", "copy", "b-clone")}) == 3
    second = ZFSStorage(dataset=root_dataset).volumes.list_volumes()
    assert {v["name"]: v["uuid"] for v in second} == first
    assert value(f"{root_dataset}/{tenant}/copy", UUID) == first[f"{tenant}/copy"]
    assert record(store, f"{tenant}/copy")["uuid"] == first[f"{tenant}/copy"]
    store.volumes.delete_volume(original["uuid"])
    assert named(store, f"{tenant}/copy")["uuid"] == first[f"{tenant}/copy"]


_RACING = """
import json, sys
from modules.errors import StorageError
from zfsstore import ZFSStorage
store = ZFSStorage(dataset=sys.argv[1])
store.volumes.list_volumes()
print("ready", flush=True)
for line in sys.stdin:
    name, *arguments = json.loads(line)
    try:
        print(getattr(store.volumes, name)(*arguments)["uuid"], flush=True)
    except StorageError as error:
        print(type(error).__name__, flush=True)
"""


class Racers:
    """Two processes, each with a store of its own on the same dataset."""

    def __init__(self, root_dataset: str) -> None:
        argv = [sys.executable, "-c", _RACING, root_dataset]
        pipe = subprocess.PIPE
        self._racers = [subprocess.Popen(argv, stdin=pipe, stdout=pipe, text=True) for _ in "ab"]
        assert self._answers() == ["ready"] * 2

    def race(self, *calls: tuple[str, ...]) -> list[str]:
        """Make a call in each at once; return uuids or names of errors, sorted."""
        for racer, call in zip(self._racers, calls, strict=True):
            assert racer.stdin is not None
            racer.stdin.write(f"{json.dumps(call)}\n")
            racer.stdin.flush()
        return sorted(self._answers())

    def end(self) -> None:
        for racer in self._racers:
            racer.communicate()

    def _answers(self) -> list[str]:
        return [racer.stdout.readline().strip() for racer in self._racers if racer.stdout]


@pytest.fixture
def racers(store: ZFSStorage, root_dataset: str) -> Iterator[Racers]:
    racers = Racers(root_dataset)
    yield racers
    racers.end()


def test_two_processes_make_one_clone_one_snapshot_and_one_name(
    store: ZFSStorage, racers: Racers
) -> None:
    tenant = new_tenant(store, "b")
    own = named(store, f"{tenant}/b")["uuid"]
    results = racers.race(*[("create_snapshot", own, "s")] * 2)
    before = zfs_volumes(store).list_snapshots(own)[0]["uuid"]
    assert results == sorted([before, "SnapshotExists"])
    results = racers.race(*[("create_clone", own, before, f"{tenant}/c")] * 2)
    made = named(store, f"{tenant}/c")["uuid"]
    assert results == sorted([made, "VolumeExists"])
    new_name = f"{tenant}/new"
    results = racers.race(("rename_volume", own, new_name), ("rename_volume", made, new_name))
    assert results == sorted([named(store, new_name)["uuid"], "VolumeExists"])


def test_volume_destroyed_by_others_is_gone_for_every_call(
    store: ZFSStorage, root_dataset: str
) -> None:
    volumes = zfs_volumes(store)
    tenant = new_tenant(store, "b")
    bucket = named(store, f"{tenant}/b")
    before = snapshot(store, bucket, "s")
    zfs("destroy", "-r", dataset_of(root_dataset, f"{tenant}/b"))
    calls: tuple[Callable[[str], object], ...] = (
        lambda own: volumes.create_snapshot(own, "x"),
        lambda own: volumes.create_clone(own, before, f"{tenant}/c"),
        lambda own: volumes.rollback_volume(own, before),
        lambda own: volumes.rename_volume(own, f"{tenant}/x"),
        lambda own: volumes.send_stream(f"{tenant}/b", "s"),
        volumes.promote_volume,
        volumes.destroy_volume,
        volumes.break_off_volume,
    )
    for call in calls:
        with pytest.raises(VolumeNotFound):
            call(bucket["uuid"])
