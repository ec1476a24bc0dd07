"""Exports of real volumes, mounted over NFS: what a client sees, and keeps."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from modules.errors import Busy, HasDependents
from tests.zfs.datasets import destroy_tree, run, value, zfs
from tests.zfs.nfsserver import (
    delegations,
    directory_handle,
    is_possible,
    mounted,
    read_at,
    serving,
)
from zfsstore import ZfsBackend
from zfsstore.backend.settings import ExportKind
from zfsstore.warpstor import WarpStor

pytestmark = [
    pytest.mark.zfs,
    pytest.mark.skipif(not is_possible(), reason="needs a machine of its own: tools/zfs-vm"),
]

NOBODY = 65534


@pytest.fixture(scope="module")
def dataset(pool: str) -> Iterator[str]:
    name = f"{pool}/nfs-{secrets.token_hex(4)}"
    zfs("create", "-o", "mountpoint=none", name)
    with serving(), delegations(allowed=False):
        yield name
        destroy_tree(name)
        run("exportfs", "-r")


@pytest.fixture(scope="module")
def srv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("srv")


@pytest.fixture(scope="module")
def backend(dataset: str, srv: Path) -> ZfsBackend:
    return exporting(dataset, srv)


def exporting(
    dataset: str, srv: Path, *, exports: ExportKind = "files", max_destroy_retries: int = 5
) -> ZfsBackend:
    """Return a backend whose volumes this machine may mount, and user nobody write to."""
    return ZfsBackend(
        pool=dataset,
        nfs_clients=["127.0.0.1"],
        dataset_owner=f"{NOBODY}:{NOBODY}",
        srv_root=str(srv),
        exports=exports,
        retry_base_s=0.2,
        max_destroy_retries=max_destroy_retries,
    )


@pytest.fixture
def mnt(tmp_path: Path) -> Path:
    return tmp_path / "mnt"


def exported(path: Path) -> bool:
    return str(path) in run("exportfs", "-v").split()


def test_a_new_volume_is_exported_and_root_is_squashed(
    backend: ZfsBackend, srv: Path, mnt: Path
) -> None:
    uuid = backend.create_volume("fresh")["uuid"]
    shown = run("exportfs", "-v")
    assert f"fsid={uuid}" in shown
    assert ",root_squash" in shown
    handle = backend.access_handle(uuid)
    assert "nfs_export" == handle["kind"]
    with mounted(handle["path"], mnt):
        (mnt / "file").write_text("through NFS")
        assert "through NFS" == (srv / "fresh" / "file").read_text()
        assert NOBODY == (srv / "fresh" / "file").stat().st_uid
        (srv / "fresh" / "roots").touch(mode=0o600)
        with pytest.raises(PermissionError):
            (mnt / "roots").read_text()
    backend.delete_volume(uuid)
    assert not exported(srv / "fresh")


def test_a_clone_is_exported_and_promote_disturbs_nobody(
    backend: ZfsBackend, srv: Path, mnt: Path, tmp_path: Path
) -> None:
    volume = backend.create_volume("origin")["uuid"]
    with mounted(str(srv / "origin"), mnt), open(mnt / "file", "w+") as held:
        held.write("first")
        held.flush()
        os.fsync(held.fileno())
        snapshot = backend.create_snapshot(volume, "s")["uuid"]
        clone = backend.create_clone(volume, snapshot, "fork")["uuid"]
        with mounted(str(srv / "fork"), tmp_path / "fork") as fork:
            assert "first" == (fork / "file").read_text()
            with open(fork / "file", "r+") as file:
                backend.promote_volume(clone)
                file.write("fork!")
                file.flush()
                os.fsync(file.fileno())
            held.seek(0)
            assert "first" == held.read()
            held.write(" more")
            held.flush()
            os.fsync(held.fileno())
            assert "fork!" == (srv / "fork" / "file").read_text()
        assert "first more" == (srv / "origin" / "file").read_text()
    backend.delete_volume(volume)
    backend.delete_volume(clone)


def test_a_rename_keeps_the_clients_handles(backend: ZfsBackend, srv: Path, mnt: Path) -> None:
    uuid = backend.create_volume("before")["uuid"]
    (srv / "before" / "sub").mkdir()
    (srv / "before" / "sub" / "file").write_text("kept")
    with mounted(str(srv / "before"), mnt), directory_handle(mnt / "sub") as held:
        assert "kept" == read_at(held, "file")
        backend.rename_volume(uuid, "after")
        assert "kept" == read_at(held, "file")
        assert ["sub"] == os.listdir(mnt)
        with open(mnt / "sub" / "file") as file:
            backend.rename_volume(uuid, "again", keep_path=True)
            assert "kept" == file.read()
        assert "kept" == read_at(held, "file")
    assert str(srv / "after") == backend.access_handle(uuid)["path"]
    assert exported(srv / "after")
    backend.delete_volume(uuid)
    assert not exported(srv / "after")


def test_a_rename_leaves_alone_what_clients_hold_open(dataset: str, srv: Path, mnt: Path) -> None:
    backend = exporting(dataset, srv, max_destroy_retries=1)
    uuid = backend.create_volume("held")["uuid"]
    (srv / "held" / "file").write_text("kept")
    with mounted(str(srv / "held"), mnt), open(mnt / "file") as file:
        with pytest.raises(Busy):
            backend.rename_volume(uuid, "other")
        assert "kept" == file.read()
        assert "kept" == (mnt / "file").read_text()
        assert exported(srv / "held")
    with delegations(allowed=True), mounted(str(srv / "held"), mnt):
        assert "kept" == (mnt / "file").read_text()
        backend.rename_volume(uuid, "other", keep_path=True)
        assert "kept" == (mnt / "file").read_text()
    backend.delete_volume(uuid)


def test_a_replaced_volume_keeps_fsid_and_handles(
    backend: ZfsBackend, dataset: str, srv: Path, mnt: Path
) -> None:
    warpstor = WarpStor(backend)
    current, fixed = f"{dataset}/current", f"{dataset}/fixed"
    assert current == warpstor.create_fs(dataset=current, userid="1000", groupid="1000")
    (srv / "current" / "sub").mkdir()
    (srv / "current" / "sub" / "file").write_text("wrong")
    vfsid = warpstor.get_vfsid_for_export(dataset=current)
    assert 0 == warpstor.snapshot(dataset=current, snap_name="s")
    snapshot = f"{current}@s"
    warpstor.clone(fs_snapshot=snapshot, dest_fs=fixed, userid="1000", groupid="1000")
    other = warpstor.get_vfsid_for_export(dataset=fixed)
    (srv / "fixed" / "sub" / "file").write_text("right")
    with mounted(str(srv / "current"), mnt), directory_handle(mnt / "sub") as held:
        assert "wrong" == read_at(held, "file")
        assert 0 == warpstor.replace(dataset=fixed, userid="1000", groupid="1000"), (
            warpstor.last_error
        )
        assert "right" == read_at(held, "file")
        assert "right" == (mnt / "sub" / "file").read_text()
    assert vfsid == warpstor.get_vfsid_for_export(dataset=current)
    assert other == warpstor.get_vfsid_for_export(dataset=fixed)
    assert "wrong" == (srv / "fixed" / "sub" / "file").read_text()
    assert exported(srv / "current")
    assert exported(srv / "fixed")
    assert f"{fixed}@s" == value(current, "origin")
    assert 1 == warpstor.destroy(dataset=fixed, recursive="1")
    assert 0 == warpstor.promote(cloned_dataset=current)
    assert 0 == warpstor.destroy(dataset=fixed, recursive="1"), warpstor.last_error
    assert 0 == warpstor.destroy(dataset=current, recursive="1"), warpstor.last_error


def test_a_volume_in_use_is_destroyed_after_its_export(
    backend: ZfsBackend, srv: Path, mnt: Path
) -> None:
    uuid = backend.create_volume("doomed")["uuid"]
    with mounted(str(srv / "doomed"), mnt):
        (mnt / "file").write_text("x")
        snapshot = backend.create_snapshot(uuid, "s")["uuid"]
        clone = backend.create_clone(uuid, snapshot, "dependent")["uuid"]
        with pytest.raises(HasDependents):
            backend.delete_volume(uuid)
        assert "x" == (mnt / "file").read_text()
        assert exported(srv / "doomed")
        backend.delete_volume(clone)
        backend.delete_volume(uuid)
        with pytest.raises(OSError, match="file") as caught:
            (mnt / "file").read_text()
        assert caught.value.errno in (errno.ESTALE, errno.EACCES)  # as the server's cache has it


def test_sharenfs_and_files_live_side_by_side(
    backend: ZfsBackend, dataset: str, srv: Path, mnt: Path
) -> None:
    in_file = backend.create_volume("infile")["uuid"]
    shared = f"{dataset}/shared"
    zfs("create", "-o", "mountpoint=none", shared)
    sharing = exporting(shared, srv / "shared", exports="sharenfs")
    uuid = sharing.create_volume("byzfs")["uuid"]
    assert f"fsid={uuid}" in run("exportfs", "-v")
    assert exported(srv / "infile")
    with mounted(str(srv / "shared" / "byzfs"), mnt):
        (mnt / "file").write_text("shared")
        assert NOBODY == (srv / "shared" / "byzfs" / "file").stat().st_uid
    sharing.rename_volume(uuid, "renamed")
    assert exported(srv / "shared" / "renamed")
    sharing.delete_volume(uuid)
    assert not exported(srv / "shared" / "renamed")
    assert exported(srv / "infile")
    backend.delete_volume(in_file)
