"""ZfsBackend on a real pool: what it makes, and that its uuids last."""

from __future__ import annotations

import io
import multiprocessing
import secrets
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

from modules.errors import (
    Busy,
    Conflict,
    HasDependents,
    InvalidArgument,
    SnapshotExists,
    SnapshotNotFound,
    StorageError,
    VolumeExists,
    VolumeNotFound,
)
from tests.zfs.datasets import destroy_tree, value, zfs
from zfsstore import ZfsBackend
from zfsstore.zfs.errors import Diverged

pytestmark = pytest.mark.zfs

MIB = 1024 * 1024


@pytest.fixture(scope="module")
def dataset(pool: str) -> Iterator[str]:
    name = f"{pool}/backend-{secrets.token_hex(4)}"
    zfs("create", "-o", "mountpoint=none", name)
    yield name
    destroy_tree(name)


@pytest.fixture(scope="module")
def srv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("srv")


@pytest.fixture(scope="module")
def backend(dataset: str, srv: Path) -> ZfsBackend:
    return another(dataset, srv)


def another(dataset: str, srv: Path) -> ZfsBackend:
    """Return a backend that remembers nothing, as after a restart."""
    return ZfsBackend(pool=dataset, srv_root=str(srv), exports="none", retry_base_s=0.05)


def test_data_goes_through_snapshot_clone_rollback_and_promote(
    backend: ZfsBackend, dataset: str, srv: Path
) -> None:
    volume = backend.create_volume("data", 64 * MIB)
    file = srv / "data" / "file"
    file.write_text("first")
    first = backend.create_snapshot(volume["uuid"], "first")
    file.write_text("second")
    clone = backend.create_clone(volume["uuid"], first["uuid"], "fork")
    assert "first" == (srv / "fork" / "file").read_text()
    assert {"parent_volume": "data", "parent_snapshot": "first"} == clone["clone"]
    assert clone == backend.get_volume(clone["uuid"])
    with pytest.raises(HasDependents):
        backend.delete_volume(volume["uuid"])
    with pytest.raises(HasDependents):
        backend.delete_snapshot(volume["uuid"], first["uuid"])

    later = backend.create_snapshot(volume["uuid"], "later")
    with pytest.raises(HasDependents):
        backend.rollback_volume(volume["uuid"], first["uuid"])
    backend.delete_snapshot(volume["uuid"], later["uuid"])
    backend.rollback_volume(volume["uuid"], first["uuid"])
    assert "first" == file.read_text()

    assert "clone" not in backend.promote_volume(clone["uuid"])
    (moved,) = backend.list_snapshots(clone["uuid"])
    assert first["uuid"] == moved["uuid"]
    assert [] == backend.list_snapshots(volume["uuid"])
    with pytest.raises(InvalidArgument):
        backend.promote_volume(clone["uuid"])
    parent = backend.get_volume(volume["uuid"])
    assert parent is not None
    assert {"parent_volume": "fork", "parent_snapshot": "first"} == parent["clone"]
    backend.delete_volume(volume["uuid"])
    backend.delete_volume(clone["uuid"])
    assert not (srv / "fork").exists()
    assert [] == backend.list_volumes()


def test_uuids_outlast_the_process_and_renames(dataset: str, srv: Path) -> None:
    made = another(dataset, srv).create_volume("lasting", 64 * MIB)
    uuid = made["uuid"]
    (srv / "lasting" / "file").write_text("kept")
    snapshot = another(dataset, srv).create_snapshot(uuid, "with a space")
    assert made == another(dataset, srv).get_volume(uuid)
    assert [made] == another(dataset, srv).list_volumes()

    watching = another(dataset, srv)
    watching.list_volumes()
    assert "moved" == another(dataset, srv).rename_volume(uuid, "moved")["name"]
    found = watching.get_volume(uuid)
    assert found == made | {"name": "moved"}
    assert "kept" == (srv / "moved" / "file").read_text()
    assert not (srv / "lasting").exists()
    assert snapshot == watching.get_snapshot(uuid, snapshot["uuid"])

    zfs("rename", f"{dataset}/moved", f"{dataset}/by-hand")
    found = watching.get_volume(uuid)
    assert found == made | {"name": "by-hand"}
    with open(srv / "moved" / "file") as held:
        renamed = watching.rename_volume(uuid, "lasting", keep_path=True)
        assert "kept" == held.read()
    assert "lasting" == renamed["name"]
    assert str(srv / "moved") == watching.access_handle(uuid)["path"]
    watching.delete_volume(uuid)
    assert another(dataset, srv).get_volume(uuid) is None


def test_a_rename_under_an_open_file_is_taken_back(
    backend: ZfsBackend, dataset: str, srv: Path
) -> None:
    uuid = backend.create_volume("held")["uuid"]
    with open(srv / "held" / "file", "w") as file:
        with pytest.raises(Busy):
            backend.rename_volume(uuid, "other")
        file.write("x")
    assert "x" == (srv / "held" / "file").read_text()
    assert str(srv / "held") == value(f"{dataset}/held", "mountpoint")
    backend.delete_volume(uuid)


def test_names_that_are_taken(backend: ZfsBackend, dataset: str) -> None:
    uuid = backend.create_volume("taken")["uuid"]
    snapshot = backend.create_snapshot(uuid, "s")
    with pytest.raises(VolumeExists):
        backend.create_volume("taken")
    with pytest.raises(VolumeExists):
        backend.create_clone(uuid, snapshot["uuid"], "taken")
    with pytest.raises(SnapshotExists):
        backend.create_snapshot(uuid, "s")
    other = backend.create_volume("other")["uuid"]
    with pytest.raises((VolumeExists, Conflict)):
        backend.rename_volume(other, "taken")
    with pytest.raises(VolumeExists):
        backend.rename_volume(other, "taken", keep_path=True)
    assert uuid == value(f"{dataset}/taken", "zfsstore:uuid")
    backend.delete_volume(other)
    backend.delete_volume(uuid)


def test_sizes(backend: ZfsBackend, srv: Path) -> None:
    uuid = backend.create_volume("sized", 32 * MIB)["uuid"]
    resized = backend.patch_volume(uuid, 64 * MIB)
    assert 64 * MIB == resized["size_bytes"]
    assert resized == backend.get_volume(uuid)
    with pytest.raises(InvalidArgument):
        backend.patch_volume(uuid, 4096)
    usage = backend.usage(uuid)
    assert 0 < usage["used_bytes"] < usage["available_bytes"] <= 64 * MIB
    backend.delete_volume(uuid)


def test_a_volume_moves_to_its_junction_path(backend: ZfsBackend, dataset: str, srv: Path) -> None:
    uuid = backend.create_volume("junction")["uuid"]
    (srv / "junction" / "file").write_text("here")
    backend.patch_volume(uuid, junction_path="/a/b")
    assert "here" == (srv / "a" / "b" / "file").read_text()
    other = backend.create_volume("second")["uuid"]
    with pytest.raises(Conflict):
        backend.patch_volume(other, junction_path="/a/b")
    backend.delete_volume(other)
    backend.delete_volume(uuid)


def test_children_are_neither_volumes_nor_in_lists_of_snapshots(
    backend: ZfsBackend, dataset: str
) -> None:
    uuid = backend.create_volume("parent")["uuid"]
    zfs("create", f"{dataset}/parent/kid")
    zfs("create", f"{dataset}/by-hand")
    zfs("snapshot", "-r", f"{dataset}/parent@all")
    assert ["parent"] == [volume["name"] for volume in backend.list_volumes()]
    assert ["all"] == [snapshot["name"] for snapshot in backend.list_snapshots(uuid)]
    zfs("destroy", f"{dataset}/by-hand")
    backend.delete_volume(uuid)


def test_snapshots_from_old_to_new(backend: ZfsBackend) -> None:
    uuid = backend.create_volume("ordered")["uuid"]
    names = ["c", "a", "b"]
    made = [backend.create_snapshot(uuid, name) for name in names]
    assert made == backend.list_snapshots(uuid)
    assert len({snapshot["uuid"] for snapshot in made}) == len(names)
    backend.delete_volume(uuid)


def test_what_was_destroyed_behind_its_back_is_gone(backend: ZfsBackend, dataset: str) -> None:
    uuid = backend.create_volume("fleeting")["uuid"]
    snapshot = backend.create_snapshot(uuid, "s")["uuid"]
    zfs("destroy", f"{dataset}/fleeting@s")
    assert backend.get_snapshot(uuid, snapshot) is None
    with pytest.raises(SnapshotNotFound):
        backend.delete_snapshot(uuid, snapshot)
    zfs("destroy", f"{dataset}/fleeting")
    new = backend.create_volume("fleeting")["uuid"]
    assert new != uuid
    assert backend.get_volume(uuid) is None
    with pytest.raises(VolumeNotFound):
        backend.delete_volume(uuid)
    backend.delete_volume(new)


def test_a_copy_that_came_with_the_same_uuid_gets_its_own(
    backend: ZfsBackend, dataset: str
) -> None:
    uuid = backend.create_volume("source")["uuid"]
    zfs("create", "-o", f"zfsstore:uuid={uuid}", f"{dataset}/copy")
    copy, source = backend.list_volumes()
    assert uuid == source["uuid"] != copy["uuid"]
    assert copy["uuid"] == value(f"{dataset}/copy", "zfsstore:uuid")
    backend.delete_volume(copy["uuid"])
    backend.delete_volume(uuid)


def race(arguments: tuple[str, Path]) -> str:
    """Create and delete the same volume, and say how it went."""
    backend = another(*arguments)
    try:
        uuid = backend.create_volume("raced")["uuid"]
    except StorageError as error:
        return type(error).__name__
    return uuid


def test_two_processes_agree(dataset: str, srv: Path) -> None:
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as processes:
        first, second = sorted(processes.map(race, [(dataset, srv)] * 2), key=len)
    assert "VolumeExists" == first
    (volume,) = another(dataset, srv).list_volumes()
    assert second == volume["uuid"]
    another(dataset, srv).delete_volume(second)


def test_streams_keep_data_snapshots_and_uuid(dataset: str, srv: Path, pool: str) -> None:
    source = another(dataset, srv)
    uuid = source.create_volume("sent", 64 * MIB)["uuid"]
    (srv / "sent" / "file").write_text("first")
    first = source.create_snapshot(uuid, "first")
    (srv / "sent" / "file").write_text("second")
    second = source.create_snapshot(uuid, "second")

    there = f"{pool}/replica-{secrets.token_hex(4)}"
    zfs("create", "-o", "mountpoint=none", there)
    replica = another(there, srv / "there")
    with source.send_stream("sent", "first") as stream:
        assert 0 < replica.receive_stream("copy", stream, uuid=uuid)
    assert "first" == (srv / "there" / "copy" / "file").read_text()
    assert "copy" == (replica.get_volume(uuid) or {})["name"]
    assert first["uuid"] == replica.list_snapshots(uuid)[0]["uuid"]
    with source.send_stream("sent", "second", "first") as stream:
        replica.receive_stream("copy", stream)
    assert "second" == (srv / "there" / "copy" / "file").read_text()
    assert [first["uuid"], second["uuid"]] == [s["uuid"] for s in replica.list_snapshots(uuid)]

    with pytest.raises(OSError, match="Read-only"):
        (srv / "there" / "copy" / "file").write_text("changed there")
    assert "rw" == replica.break_off_volume(uuid)["vol_type"]
    (srv / "there" / "copy" / "file").write_text("changed there")
    (srv / "sent" / "file").write_text("third")
    source.create_snapshot(uuid, "third")
    with source.send_stream("sent", "third", "second") as stream, pytest.raises(Diverged):
        replica.receive_stream("copy", stream)
    assert "changed there" == (srv / "there" / "copy" / "file").read_text()
    with source.send_stream("sent", "third", "second") as stream:
        replica.receive_stream("copy", stream, rollback=True)
    assert "third" == (srv / "there" / "copy" / "file").read_text()

    with source.send_stream("sent", "first") as stream:
        source.receive_stream("beside", stream)
    assert uuid not in {v["uuid"] for v in source.list_volumes() if v["name"] == "beside"}
    with source.send_stream("sent", "first") as stream, pytest.raises(StorageError):
        source.receive_stream("sent", stream)
    destroy_tree(there)
    for volume in source.list_volumes():
        source.delete_volume(volume["uuid"])


def test_a_bookmark_stands_for_a_snapshot_that_is_gone_and_a_hold_keeps_one(
    backend: ZfsBackend, dataset: str, srv: Path
) -> None:
    uuid = backend.create_volume("kept")["uuid"]
    first = backend.create_snapshot(uuid, "first")["uuid"]
    backend.hold_snapshot(uuid, first, "replica")
    assert ["replica"] == backend.list_holds(uuid, first)
    with pytest.raises(Busy):
        backend.delete_snapshot(uuid, first)
    backend.release_snapshot(uuid, first, "replica")
    assert [] == backend.list_holds(uuid, first)
    mark = backend.create_bookmark(uuid, first, "mark")
    assert [mark] == backend.list_bookmarks(uuid)
    assert first == mark["uuid"]
    with backend.send_stream("kept", "first") as stream:
        backend.receive_stream("there", stream)
    backend.delete_snapshot(uuid, first)
    (srv / "kept" / "file").write_text("second")
    backend.create_snapshot(uuid, "second")
    with backend.send_stream("kept", "second", "#mark") as stream:
        backend.receive_stream("there", stream)
    assert "second" == (srv / "there" / "file").read_text()
    backend.delete_bookmark(uuid, "mark")
    assert [] == backend.list_bookmarks(uuid)
    for volume in backend.list_volumes():
        backend.delete_volume(volume["uuid"])


def test_streams_that_cannot_be(backend: ZfsBackend, dataset: str, srv: Path) -> None:
    uuid = backend.create_volume("streams")["uuid"]
    backend.create_snapshot(uuid, "s")
    for arguments in (("streams", "absent"), ("streams", "s", "absent"), ("streams", "s", "s")):
        with pytest.raises(InvalidArgument):
            backend.send_stream(*arguments)
    with pytest.raises(VolumeNotFound):
        backend.send_stream("absent", "s")
    with pytest.raises(StorageError):
        backend.receive_stream("new", io.BytesIO(b"no stream"))
    with backend.send_stream("streams", "s") as stream, pytest.raises(StorageError):
        backend.receive_stream("new", io.BytesIO(stream.read(1000)))
    assert ["streams"] == [volume["name"] for volume in backend.list_volumes()]
    assert not (srv / "new").exists()
    backend.delete_volume(uuid)
