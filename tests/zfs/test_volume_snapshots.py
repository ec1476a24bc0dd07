"""Snapshots, clones, promote and rollback of volumes with objects and an index in them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from modules import fences
from modules.errors import (
    Busy,
    Conflict,
    HasDependents,
    InvalidArgument,
    InvalidName,
    SnapshotExists,
    SnapshotNotFound,
    VolumeExists,
    VolumeNotFound,
)
from modules.volumes import CloneBackend, OperatorBackend, SnapshotBackend
from tests.storage.helpers import put
from tests.zfs.datasets import named, path_of, value, zfs
from tests.zfs.indexed import index, new_tenant, read, record, snapshot, write, zfs_volumes
from zfsstore import ZFSStorage, layout
from zfsstore.volumes.datasets import NAME
from zfsstore.zfs.commands import format_text_property
from zfsstore.zfs.names import encode_component

pytestmark = pytest.mark.zfs

MIB = 1024 * 1024


def dataset_of(root_dataset: str, name: str) -> str:
    return "/".join((root_dataset, *map(encode_component, name.split("/"))))


def test_snapshot_is_read_as_it_was_and_goes_when_it_is_deleted(
    store: ZFSStorage, root_dataset: str, tmp_path: Path
) -> None:
    volumes = zfs_volumes(store)
    assert isinstance(volumes, SnapshotBackend | CloneBackend | OperatorBackend)
    assert store.capabilities({})["cdmi_snapshots"] == "true"
    bucket = f"{new_tenant(store, 'b')}/b"
    write(store, bucket, "kept", b"kept")
    write(store, bucket, "changed", b"old")
    volume = named(store, bucket)
    with index(store, bucket) as connection:  # open, with a WAL
        connection.execute("INSERT OR REPLACE INTO object SELECT 'again', data FROM object")
        made = volumes.create_snapshot(volume["uuid"], "a b:c")
        connection.execute("DELETE FROM object WHERE key = 'again'")
    write(store, bucket, "changed", b"new")
    then = {"again": b"old", "changed": b"old", "kept": b"kept"}
    assert read(store, f"{bucket}@a b:c", tmp_path) == then
    assert read(store, bucket) == {"changed": b"new", "kept": b"kept"}
    with pytest.raises(InvalidArgument):
        put(store, {"tenant": bucket, "snapshot": "a b:c"}, b"x")

    with pytest.raises(SnapshotExists):
        volumes.create_snapshot(volume["uuid"], "a b:c")
    for name in ("", "a/b", "a@b", "ä", "x" * 300):
        with pytest.raises(InvalidName):
            volumes.create_snapshot(volume["uuid"], name)
    zfs("snapshot", f"{dataset_of(root_dataset, bucket)}@by-hand")
    names = [one["name"] for one in volumes.list_snapshots(volume["uuid"])]
    assert names == ["a b:c", "by-hand"]
    fresh = zfs_volumes(ZFSStorage(dataset=root_dataset))
    again = fresh.get_snapshot(volume["uuid"], made["uuid"])
    assert again is not None
    assert (again["name"], again.get("create_time")) == ("a b:c", made.get("create_time"))
    volumes.delete_snapshot(volume["uuid"], made["uuid"])
    with pytest.raises(SnapshotNotFound):
        volumes.delete_snapshot(volume["uuid"], made["uuid"])
    with pytest.raises(SnapshotNotFound):
        read(store, f"{bucket}@a b:c", tmp_path)


def test_tenant_with_its_buckets_is_frozen_at_one_moment_or_not_at_all(
    store: ZFSStorage, root_dataset: str
) -> None:
    volumes = zfs_volumes(store)
    tenant = new_tenant(store, "a", "b")
    uuids = [named(store, name)["uuid"] for name in (tenant, f"{tenant}/a", f"{tenant}/b")]
    made = volumes.create_snapshots(uuids, "together")
    assert len({one["uuid"] for one in made}) == 3
    full = [dataset_of(root_dataset, n) for n in (tenant, f"{tenant}/a", f"{tenant}/b")]
    assert len({value(f"{name}@together", "createtxg") for name in full}) == 1
    assert [one["name"] for one in volumes.list_snapshots(uuids[0])] == ["together"]

    volumes.create_snapshot(uuids[2], "one")
    with pytest.raises(SnapshotExists):
        volumes.create_snapshots(uuids, "one")
    assert [one["name"] for one in volumes.list_snapshots(uuids[1])] == ["together"]
    zfs("destroy", "-r", full[2])
    with pytest.raises(VolumeNotFound):
        volumes.create_snapshots(uuids, "later")
    with pytest.raises(VolumeNotFound):
        volumes.list_snapshots(uuids[2])


def test_clone_is_a_volume_of_its_own_and_promote_turns_the_dependence_round(
    store: ZFSStorage, root_dataset: str, tmp_path: Path
) -> None:
    volumes = zfs_volumes(store)
    tenant, other = new_tenant(store), new_tenant(store)
    parent = volumes.create_volume(f"{tenant}/b", 256 * MIB)
    dataset = dataset_of(root_dataset, f"{tenant}/b")
    zfs("set", "compression=zstd", dataset)
    write(store, f"{tenant}/b", "key", b"old")
    before = snapshot(store, parent, "s")
    write(store, f"{tenant}/b", "key", b"new")
    name = f"{other}/{'Kopie ' * 20}"
    clone = volumes.create_clone(parent["uuid"], before, name)

    assert clone["clone"] == {"parent_volume": f"{tenant}/b", "parent_snapshot": "s"}
    assert (clone["name"], clone["size_bytes"], clone["state"]) == (name, 256 * MIB, "online")
    assert clone["uuid"] != parent["uuid"]
    (listed,) = (v for v in volumes.list_volumes() if v["uuid"] == clone["uuid"])
    assert {**listed, "used_bytes": 0} == {**clone, "used_bytes": 0}  # grows when it is flushed
    properties = {"compression": "zstd", "recordsize": str(MIB), "setuid": "off"}
    copied = dataset_of(root_dataset, name)
    assert {key: value(copied, key) for key in properties} == properties
    assert value(copied, NAME) == format_text_property("Kopie " * 20)
    inside, outside = record(store, name), record(store, f"{tenant}/b")
    assert inside["key_domain"] == outside["key_domain"]
    assert (inside["uuid"], inside["name"]) == (clone["uuid"], "Kopie " * 20)

    write(store, name, "more", b"only here")
    assert read(store, name) == {"key": b"old", "more": b"only here"}
    assert read(store, f"{tenant}/b") == {"key": b"new"}
    with pytest.raises(VolumeExists):
        volumes.create_clone(parent["uuid"], before, name)
    with pytest.raises(VolumeNotFound, match="tenant"):
        volumes.create_clone(parent["uuid"], before, "nobody/b")
    with pytest.raises(HasDependents, match=f"1 clone of it: {other}/Kopie"):
        volumes.delete_snapshot(parent["uuid"], before)

    promoted = volumes.promote_volume(clone["uuid"])
    assert "clone" not in promoted
    turned = volumes.get_volume(parent["uuid"])
    assert turned is not None
    assert turned["clone"] == {"parent_volume": name, "parent_snapshot": "s"}
    assert [one["uuid"] for one in volumes.list_snapshots(clone["uuid"])] == [before]
    with pytest.raises(InvalidArgument):
        volumes.promote_volume(clone["uuid"])
    volumes.destroy_volume(parent["uuid"])
    volumes.delete_snapshot(clone["uuid"], before)
    assert read(store, name) == {"key": b"old", "more": b"only here"}


_KILLED = """
import os, signal, sys
from zfsstore import ZFSStorage
from zfsstore.zfs.runner import LocalRunner
local = LocalRunner()
def runner(argv):
    result = local(argv)
    if argv[1] == sys.argv[2]:
        os.kill(os.getpid(), signal.SIGKILL)
    return result
volumes = ZFSStorage(dataset=sys.argv[1], runner=runner).volumes
volumes.patience_s = 1.0
getattr(volumes, sys.argv[3])(*sys.argv[4:])
"""


def kill_after(command: str, root_dataset: str, call: str, *arguments: str) -> None:
    argv = [sys.executable, "-c", _KILLED, root_dataset, command, call, *arguments]
    assert subprocess.run(argv, check=False).returncode == -9


def test_clone_that_was_cut_off_is_completed_by_the_same_call(
    store: ZFSStorage, root_dataset: str
) -> None:
    volumes = zfs_volumes(store)
    tenant = new_tenant(store, "b")
    parent = named(store, f"{tenant}/b")
    before = snapshot(store, parent, "s")
    arguments = (parent["uuid"], before, f"{tenant}/c")
    kill_after("clone", root_dataset, "create_clone", *arguments)
    left = named(store, f"{tenant}/c")
    assert left["uuid"] != parent["uuid"]
    assert record(store, f"{tenant}/c")["uuid"] == parent["uuid"]
    made = volumes.create_clone(*arguments)
    assert (made["uuid"], record(store, f"{tenant}/c")["uuid"]) == (left["uuid"], left["uuid"])
    with pytest.raises(VolumeExists):
        volumes.create_clone(*arguments)


def test_clone_of_what_was_no_volume_yet_is_undone(store: ZFSStorage, root_dataset: str) -> None:
    volumes = zfs_volumes(store)
    tenant = new_tenant(store, "b")
    parent = named(store, f"{tenant}/b")
    file = path_of(store, f"{tenant}/b") / layout.VOLUME_FILE
    content = file.read_bytes()
    file.unlink()
    too_early = snapshot(store, parent, "early")
    file.write_bytes(content)
    with pytest.raises(Conflict, match="before the volume was complete"):
        volumes.create_clone(parent["uuid"], too_early, f"{tenant}/c")
    names = [v["name"] for v in volumes.list_volumes() if v["name"].startswith(tenant)]
    assert names == [tenant, f"{tenant}/b"]
    back = volumes.rollback_volume(parent["uuid"], too_early)
    assert (back["uuid"], back["state"]) == (parent["uuid"], "online")
    assert record(store, f"{tenant}/b")["key_domain"] in content.decode()


def test_rollback_brings_objects_and_index_back_and_keeps_the_identity(
    store: ZFSStorage, root_dataset: str
) -> None:
    volumes = zfs_volumes(store)
    tenant = new_tenant(store, "b")
    volume = named(store, f"{tenant}/b")
    write(store, f"{tenant}/b", "key", b"old")
    before = snapshot(store, volume, "s")
    write(store, f"{tenant}/b", "key", b"new")
    write(store, f"{tenant}/b", "other", b"later")
    snapshot(store, volume, "newer")
    name = f"{tenant}/renamed"
    volumes.rename_volume(volume["uuid"], name)
    volumes.patch_volume(volume["uuid"], 512 * MIB)
    with pytest.raises(HasDependents, match="newer"):
        volumes.rollback_volume(volume["uuid"], before)
    fence = store.fence({"tenant": name})
    generation = fences.generation(fence)
    with index(store, name), pytest.raises(Busy):
        volumes.rollback_volume(volume["uuid"], before, destroy_newer=True)
    assert read(store, name) == {"key": b"new", "other": b"later"}
    back = volumes.rollback_volume(volume["uuid"], before, destroy_newer=True)
    assert (back["uuid"], back["name"]) == (volume["uuid"], name)
    assert back["size_bytes"] == 512 * MIB
    assert read(store, name) == {"key": b"old"}
    assert record(store, name)["name"] == "renamed"
    assert fences.generation(fence) > generation
    assert [one["name"] for one in volumes.list_snapshots(volume["uuid"])] == ["s"]
    write(store, name, "key", b"newest")
    assert read(store, name) == {"key": b"newest"}


def test_rollback_to_a_snapshot_taken_over_from_the_origin_keeps_the_clones_uuid(
    store: ZFSStorage, root_dataset: str
) -> None:
    volumes = zfs_volumes(store)
    tenant = new_tenant(store, "b")
    parent = named(store, f"{tenant}/b")
    write(store, f"{tenant}/b", "key", b"old")
    before = snapshot(store, parent, "s")
    clone = volumes.create_clone(parent["uuid"], before, f"{tenant}/c")
    write(store, f"{tenant}/c", "key", b"new")
    stand_in = volumes.create_clone(clone["uuid"], snapshot(store, clone, "n"), f"{tenant}/d")
    volumes.promote_volume(clone["uuid"])
    with pytest.raises(HasDependents, match=f"1 clone of it: {tenant}/d"):
        volumes.rollback_volume(clone["uuid"], before, destroy_newer=True)
    volumes.destroy_volume(stand_in["uuid"])
    volumes.rollback_volume(clone["uuid"], before, destroy_newer=True)
    assert read(store, f"{tenant}/c") == {"key": b"old"}
    inside = record(store, f"{tenant}/c")
    assert (inside["uuid"], inside["name"]) == (clone["uuid"], "c")
