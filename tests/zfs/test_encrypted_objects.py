"""EncryptedStorage around a real dataset: what moves with the volume stays readable."""

from __future__ import annotations

import io
import secrets
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from modules.conformance import QUICK, ModuleSpec, check_module, format_report
from modules.conformance.spec import Modules
from modules.errors import KeyDestroyed, SnapshotNotFound
from modules.extensions import SupportsSweep, SupportsVolumes
from modules.volumes import OperatorBackend, ReplicationBackend
from modules.wrappers.encryption import EncryptedStorage
from tests.wrappers.encrypted import ENCRYPTED, encrypted, keys_at
from tests.zfs.datasets import STORE_ARGUMENTS, destroy_tree, zfs

pytestmark = pytest.mark.zfs

BUCKET = {"tenant": "acme/photos"}
RULES = (
    *("put.1-mib", "put.nothing-left", "put.truncated-stream", "read.ranges", "read.seek-end"),
    *("get.absent", "get.malformed", "delete.idempotent", "context.bare", "threads.parallel"),
    *("state-dir.per-volume", "sweep.report", "sweep.missing", "volumes.create", "volumes.apart"),
    *("snapshots.read", "snapshots.read-only", "clones.create", "clones.parent-changes"),
    *("replication.full", "replication.incremental"),
)


@pytest.fixture(scope="module")
def other_dataset(pool: str) -> Iterator[str]:
    name = f"{pool}/replica-{secrets.token_hex(4)}"
    zfs("create", name)
    yield name
    destroy_tree(name)


def dataset_spec(dataset: str) -> ModuleSpec:
    return ModuleSpec("zfsstore.ZFSStorage", {"dataset": dataset, **STORE_ARGUMENTS})


def store_on(dataset: str, keys: Path) -> EncryptedStorage:
    modules = Modules({"leaf": dataset_spec(dataset), "enc": encrypted("leaf", keys_at(keys))})
    module = modules.get("enc")
    assert isinstance(module, EncryptedStorage)
    return module


def volumes_of(module: Any) -> OperatorBackend:
    assert isinstance(module, SupportsVolumes)
    assert isinstance(module.volumes, OperatorBackend)
    return module.volumes


def read(module: EncryptedStorage, context: dict[str, Any], module_data: str) -> bytes:
    with module.get_read_stream(context, module_data) as stream:
        return stream.read()


def test_rules_hold_around_a_dataset(root_dataset: str, tmp_path: Path) -> None:
    report = check_module(
        ENCRYPTED,
        {"inner": "leaf", "keys": keys_at(tmp_path)},
        inner={"leaf": dataset_spec(root_dataset)},
        rules=RULES,
        scale=QUICK,
    )
    assert report.ok, format_report(report)
    assert {"passed"} == {result.outcome for result in report.results}, format_report(report)


def test_snapshot_clone_rename_rollback_and_replica(
    root_dataset: str, other_dataset: str, tmp_path: Path
) -> None:
    module = store_on(root_dataset, tmp_path)
    volumes = volumes_of(module)
    volumes.create_volume("acme")
    uuid = volumes.create_volume("acme/photos")["uuid"]
    plain = secrets.token_bytes(200_000)
    made = module.put(BUCKET, io.BytesIO(plain))
    snapshot = volumes.create_snapshot(uuid, "daily")
    module.keys.rotate(module.identity(BUCKET).key_domain)
    later = module.put(BUCKET, io.BytesIO(b"later"))
    module.delete(BUCKET, made)

    assert plain == read(module, BUCKET | {"snapshot": "daily"}, made)
    with pytest.raises(SnapshotNotFound):
        read(module, BUCKET | {"snapshot": "absent"}, made)
    volumes.create_clone(uuid, snapshot["uuid"], "acme/fork")
    fork = {"tenant": "acme/fork"}
    assert plain == read(module, fork, made)

    replica = store_on(other_dataset, tmp_path)  # another machine, with the same key table
    volumes_of(replica).create_volume("copy")
    assert isinstance(volumes, ReplicationBackend)
    received = volumes_of(replica)
    assert isinstance(received, ReplicationBackend)
    with volumes.send_stream("acme/photos", "daily") as stream:
        received.receive_stream("copy/photos", stream)
    copy = {"tenant": "copy/photos", "snapshot": "daily"}
    assert plain == read(replica, copy, made)
    assert replica.identity(copy).key_domain == module.identity(BUCKET).key_domain

    volumes.rename_volume(uuid, "acme/pictures")
    renamed = {"tenant": "acme/pictures"}
    assert b"later" == read(module, renamed, later)
    volumes.rollback_volume(uuid, snapshot["uuid"])
    assert plain == read(module, renamed, made)
    assert not module.available(renamed, later)
    lost = module.put(renamed, io.BytesIO(b"lost"))
    assert isinstance(module, SupportsSweep)
    report = module.sweep(renamed, [made], older_than=timedelta(0))
    assert (lost.rpartition("-:")[2],) == report.unreferenced
    assert () == report.missing

    module.keys.shred(module.identity(renamed).key_domain)
    replica.keys.forget()
    for store, context in ((module, renamed), (module, fork), (replica, copy)):
        with pytest.raises(KeyDestroyed):
            read(store, context, made)
