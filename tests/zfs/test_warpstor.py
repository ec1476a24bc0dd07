"""The WarpStor facade on a real pool."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from modules.errors import HasDependents, SnapshotExists, StorageError
from tests.zfs.datasets import destroy_tree, zfs
from zfsstore import ZfsBackend
from zfsstore.warpstor import WarpStor

pytestmark = pytest.mark.zfs


@pytest.fixture(scope="module")
def vol(pool: str) -> Iterator[str]:
    name = f"{pool}/warp-{secrets.token_hex(4)}"
    zfs("create", "-o", "mountpoint=none", name)
    yield name
    destroy_tree(name)


@pytest.fixture(scope="module")
def srv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("srv")


@pytest.fixture(scope="module")
def warpstor(vol: str, srv: Path) -> WarpStor:
    backend = ZfsBackend(pool=vol, srv_root=str(srv), exports="none", retry_base_s=0.05)
    return WarpStor(backend, dataset_types={"database": {"recordsize": "16K"}})


def test_the_life_of_a_dataset(warpstor: WarpStor, vol: str, srv: Path) -> None:
    made = warpstor.create_fs(dataset="a", userid="1000", groupid="1001", dataset_type="database")
    assert f"{vol}/a" == made
    status = (srv / "a").stat()
    assert (1000, 1001) == (status.st_uid, status.st_gid)
    (srv / "a" / "file").write_text("data")
    assert 1 == warpstor.snapshot_exists_not(snapshot_name=f"{vol}/a@one")
    for name in ("one", "another one"):
        assert 0 == warpstor.snapshot(dataset=made, snap_name=name)
    assert 1 == warpstor.snapshot(dataset=made, snap_name="one")
    assert isinstance(warpstor.last_error, SnapshotExists)
    assert 0 == warpstor.snapshot_exists_not(snapshot_name=f"{vol}/a@one")
    assert [f"{vol}/a@one", f"{vol}/a@another one"] == warpstor.list_snapshots()

    clone = warpstor.clone(fs_snapshot="a@one", dest_fs="c", userid="1000", groupid="1001")
    assert "data" == (srv / "c" / "file").read_text()
    assert [made, clone] == warpstor.list_filesystems()
    assert f"{vol}/d" == warpstor.clone_only(fs_snapshot="a@one", dest_fs="d")
    assert 0 == warpstor.snapshot(dataset="d", snap_name="one")
    assert 1 == warpstor.promote(cloned_dataset="d")
    assert isinstance(warpstor.last_error, SnapshotExists)
    assert 0 == warpstor.promote(cloned_dataset="c"), warpstor.last_error
    assert 0 == warpstor.rename(dataset_a="c", dataset_b=f"{vol}/e"), warpstor.last_error
    assert 1 == warpstor.rename(dataset_a="e", dataset_b="a")
    assert "data" == (srv / "e" / "file").read_text()

    assert 1 == warpstor.destroy(dataset="e@one")
    assert isinstance(warpstor.last_error, HasDependents)
    assert 0 == warpstor.destroy(
        dataset="e@one", recursive="1", recursive_mode="-R", confirm="yes"
    ), warpstor.last_error
    assert [f"{vol}/e"] == warpstor.list_filesystems()
    assert 1 == warpstor.dataset_exists_not(dataset_name=made)
    assert 0 == warpstor.destroy(dataset="e"), warpstor.last_error
    assert [] == os.listdir(srv)


def test_a_filtered_clone_holds_what_was_asked_for(warpstor: WarpStor, vol: str, srv: Path) -> None:
    assert 0 == warpstor.create_fs_only(dataset="full")
    for name in ("keep/a.txt", "keep/b.log", "drop/c.txt", "d.txt"):
        path = srv / "full" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(name)
    assert 0 == warpstor.snapshot(dataset="full", snap_name="s")
    clone = warpstor.filtered_clone(
        fs_snapshot=f"{vol}/full@s",
        dest_fs=f"{vol}/part",
        userid="1000",
        groupid="1000",
        include=["*.txt", "keep"],
        exclude=["drop"],
    )
    assert f"{vol}/part" == clone
    files = sorted(str(path.relative_to(srv / "part")) for path in (srv / "part").rglob("*.*"))
    assert ["d.txt", "keep/a.txt", "keep/b.log"] == files
    assert "drop/c.txt" == (srv / "full" / "drop" / "c.txt").read_text()
    assert 0 == warpstor.destroy(
        dataset="full", recursive="1", recursive_mode="-R", confirm="yes"
    ), warpstor.last_error


def test_a_clone_that_fails_half_way_is_undone(warpstor: WarpStor, vol: str, srv: Path) -> None:
    warpstor.create_fs_no_export(dataset="whole")
    assert 0 == warpstor.snapshot(dataset="whole", snap_name="s")
    with pytest.raises(StorageError):
        warpstor.clone(fs_snapshot="whole@s", dest_fs="half", userid="nosuchuser", groupid="0")
    assert 1 == warpstor.dataset_exists_not(dataset_name="half")
    assert not (srv / "half").exists()
    assert 0 == warpstor.destroy(dataset="whole", recursive="1"), warpstor.last_error


def test_replace_swaps_two_datasets(warpstor: WarpStor, srv: Path) -> None:
    for name in ("live", "next"):
        warpstor.create_fs_no_export(dataset=name)
        (srv / name / "file").write_text(name)
    vfsid = warpstor.get_vfsid_for_export(dataset="live")
    with open(srv / "live" / "file"):
        assert 1 == warpstor.replace(dataset="next", replaced="live")
    assert "live" == (srv / "live" / "file").read_text()
    assert 1 == warpstor.replace(dataset="next")
    assert 0 == warpstor.replace(dataset="next", replaced="live"), warpstor.last_error
    assert "next" == (srv / "live" / "file").read_text()
    assert "live" == (srv / "next" / "file").read_text()
    assert vfsid == warpstor.get_vfsid_for_export(dataset="live")
    own = "0c1a2b3c-4d5e-6f70-8192-a3b4c5d6e7f8"
    assert 0 == warpstor.replace(dataset="next", replaced="live", vfsid=own), warpstor.last_error
    assert own == warpstor.get_vfsid_for_export(dataset="live")
    assert "live" == (srv / "live" / "file").read_text()


def test_rebuild_empties_the_vol_of_datasets_of_ours(
    warpstor: WarpStor, vol: str, srv: Path
) -> None:
    warpstor.create_fs_no_export(dataset="parent")
    assert 0 == warpstor.snapshot(dataset="parent", snap_name="s")
    warpstor.clone_only(fs_snapshot="parent@s", dest_fs="child")
    zfs("create", f"{vol}/foreign")
    assert 1 == warpstor.rebuild_vol(vol=vol, confirm="yes")
    assert isinstance(warpstor.last_error, HasDependents)
    assert 0 == warpstor.dataset_exists_not(dataset_name="child")
    zfs("destroy", f"{vol}/foreign")
    assert 0 == warpstor.rebuild_vol(vol=vol, confirm="yes"), warpstor.last_error
    assert [] == warpstor.list_filesystems()
    assert [] == os.listdir(srv)
    assert 0 < warpstor.get_used_space_for_vol()
    assert 0 < warpstor.get_available_space_for_vol()
