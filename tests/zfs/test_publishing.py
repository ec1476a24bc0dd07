"""Published buckets on ZFS: through NFS, in snapshots, clones and after roll-backs; recovery."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.host.viewing import shown
from tests.zfs.datasets import named, path_of, run
from tests.zfs.nfsserver import delegations, is_possible, mounted, serving
from tools.powercut.stores import Site
from zfsstore import ZFSStorage
from zfsstore.exports import Export, FileExports
from zfsstore.host.catalog.records import Tenant
from zfsstore.host.objects import ObjectService

pytestmark = pytest.mark.zfs

READ_ONLY = ("ro", "sync", "no_subtree_check", "root_squash", "crossmnt", "mountpoint")
RECOVER = Path(__file__).parents[2] / "examples" / "recover.py"


@pytest.fixture
def service(tmp_path: Path, store: ZFSStorage) -> Iterator[ObjectService]:
    with Site(str(tmp_path / "names.db")).service(store) as opened:
        yield opened


@pytest.fixture
def tenant(bucket: dict[str, Any]) -> Tenant:
    return Tenant(bucket["tenant"].partition("/")[0], "zfs")


@pytest.fixture
def volume(store: ZFSStorage, bucket: dict[str, Any]) -> Path:
    return path_of(store, bucket["tenant"])


def put(
    service: ObjectService, tenant: Tenant, key: str, data: bytes, name: str = "bucket"
) -> None:
    service.put_object(
        *(tenant, name, key, io.BytesIO(data)),
        content_length=len(data),
        content_type=None,
        require_parent=False,
    )


@pytest.mark.skipif(not is_possible(), reason="needs a machine of its own: tools/zfs-vm")
def test_an_nfs_client_sees_natural_names(
    service: ObjectService, store: ZFSStorage, tenant: Tenant, volume: Path, tmp_path: Path
) -> None:
    put(service, tenant, "docs/a b.txt", b"first")
    put(service, tenant, "docs/Ünï", b"2")
    put(service, tenant, "old name", b"3")
    service.publishing.publish(tenant, "bucket")
    uuid = named(store, f"{tenant.name}/bucket")["uuid"]
    export = Export(f"{tenant.name}/bucket", uuid, "", str(volume), uuid)
    exports = FileExports(lambda argv, *_: run(*argv), ["127.0.0.1"], options=READ_ONLY)
    with serving(), delegations(allowed=False):
        exports.export(export)
        with mounted(str(volume), tmp_path / "mnt") as mnt:
            files = mnt / "files"
            assert {"docs/a b.txt": b"first", "docs/Ünï": b"2", "old name": b"3"} == shown(files)
            with pytest.raises(OSError, match=r"Read-only|Permission"):
                (files / "docs/a b.txt").write_bytes(b"x")
            with pytest.raises(OSError, match=r"Read-only|Permission"):
                (files / "new").touch()
            with pytest.raises(PermissionError):
                os.listdir(mnt / ".zfsstore")

            put(service, tenant, "docs/a b.txt", b"second")
            service.delete_object(tenant, "bucket", "docs/Ünï")
            put(service, tenant, "new name", b"3")
            service.delete_object(tenant, "bucket", "old name")
            put(service, tenant, "new name/below", b"4")
            service.publishing.run_once()
            assert {
                "docs/a b.txt": b"second",
                "new name%00object": b"3",
                "new name/below": b"4",
            } == shown(files)
            service.delete_object(tenant, "bucket", "new name/below")
            service.publishing.run_once()
            assert {"docs/a b.txt": b"second", "new name": b"3"} == shown(files)
        with exports.withdrawn(export):
            pass
        exports.flush()


def test_a_snapshot_a_clone_and_a_roll_back_keep_files_and_keys_in_step(
    service: ObjectService,
    store: ZFSStorage,
    tenant: Tenant,
    volume: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    volumes: Any = store.volumes
    service.publishing.publish(tenant, "bucket")
    put(service, tenant, "a/kept", b"1")
    put(service, tenant, "../hostile", b"2")
    service.publishing.run_once()
    put(service, tenant, "a/in the journal only", b"3")
    uuid = named(store, f"{tenant.name}/bucket")["uuid"]
    snapshot = volumes.create_snapshot(uuid, "monday")["uuid"]
    put(service, tenant, "a/kept", b"newer")
    service.publishing.run_once()
    then = {"a/kept": b"1", "%2E./hostile": b"2"}
    all_of_it = {**then, "a/in the journal only": b"3"}
    assert {**all_of_it, "a/kept": b"newer"} == shown(volume / "files")
    assert then == shown(volume / ".zfs/snapshot/monday/files")

    argv = [sys.executable, "-I", "-S", str(RECOVER)]
    argv += [str(volume / ".zfs/snapshot/monday"), str(tmp_path / "recovered")]
    done = subprocess.run(argv, capture_output=True, text=True, cwd="/", env={}, check=False)
    assert (0, "restored 3 of 3\n", "") == (done.returncode, done.stdout, done.stderr)
    assert all_of_it == shown(tmp_path / "recovered")

    fork = volumes.create_clone(uuid, snapshot, f"{tenant.name}/fork")
    assert "fork" == service.get_bucket(tenant, "fork").name
    service.publishing.run_once()
    files = path_of(store, f"{tenant.name}/fork") / "files"
    assert all_of_it == shown(files)
    put(service, tenant, "a/kept", b"forked", "fork")
    service.publishing.run_once()
    assert {**all_of_it, "a/kept": b"forked"} == shown(files)

    volumes.rollback_volume(uuid, snapshot)
    assert then == shown(volume / "files")
    put(service, tenant, "after", b"4")
    service.publishing.run_once()
    assert {**all_of_it, "after": b"4"} == shown(volume / "files")
    assert "building them anew" not in caplog.text
    assert fork["uuid"] != uuid
