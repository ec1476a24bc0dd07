"""Encrypted objects follow their volume: snapshot, clone, rename, rollback, sweep, identity."""

from __future__ import annotations

import io
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from modules.conformance import ModuleSpec
from modules.conformance.spec import Modules
from modules.errors import KeyDestroyed, WrongKey
from modules.extensions import NeedsVolumeIdentity, SupportsSweep, SupportsVolumes
from modules.volumes import OperatorBackend
from modules.wrappers.encryption import EncryptedStorage
from tests.wrappers.encrypted import encrypted, keys_at

BUCKET = {"tenant": "acme/photos"}


def store_at(directory: Path) -> EncryptedStorage:
    leaf = ModuleSpec("zfsstore.ZFSStorage", {"directory": str(directory / "store")})
    modules = Modules({"leaf": leaf, "enc": encrypted("leaf", keys_at(directory))})
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


@pytest.fixture
def module(tmp_path: Path) -> EncryptedStorage:
    made = store_at(tmp_path)
    for name in ("acme", "acme/photos", "other"):
        volumes_of(made).create_volume(name)
    return made


def uuid_of(module: EncryptedStorage, name: str) -> str:
    return next(v["uuid"] for v in volumes_of(module).list_volumes() if v["name"] == name)


def test_each_volume_has_keys_of_its_own(module: EncryptedStorage) -> None:
    made = module.put(BUCKET, io.BytesIO(b"photo"))
    module.put({"tenant": "other"}, io.BytesIO(b"x"))
    assert isinstance(module, NeedsVolumeIdentity)
    domains = {record.key_domain for record in module.keys.list_keys()}
    photos, other = (module.identity(c).key_domain for c in (BUCKET, {"tenant": "other"}))
    assert {photos, other} == domains
    assert b"photo" == read(module, BUCKET, made)
    assert b"photo" == read(module, BUCKET | {"key_domain": photos}, made)
    with pytest.raises(WrongKey):
        read(module, BUCKET | {"key_domain": other}, made)


def test_snapshot_clone_rename_and_rollback_keep_objects_readable(
    module: EncryptedStorage, tmp_path: Path
) -> None:
    volumes = volumes_of(module)
    photos = uuid_of(module, "acme/photos")
    made = module.put(BUCKET, io.BytesIO(b"as it was"))
    snapshot = volumes.create_snapshot(photos, "daily")
    module.keys.rotate(module.identity(BUCKET).key_domain)
    later = module.put(BUCKET, io.BytesIO(b"later"))
    module.delete(BUCKET, made)

    assert b"as it was" == read(module, BUCKET | {"snapshot": "daily"}, made)
    volumes.create_clone(photos, snapshot["uuid"], "other/fork")
    fork = {"tenant": "other/fork"}
    assert b"as it was" == read(module, fork, made)
    assert module.identity(fork).key_domain == module.identity(BUCKET).key_domain
    assert module.identity(fork).volume_id != module.identity(BUCKET).volume_id
    both = module.put(fork, io.BytesIO(b"in the fork"))
    volumes.rename_volume(photos, "acme/pictures")
    renamed = {"tenant": "acme/pictures"}
    assert b"later" == read(module, renamed, later)
    volumes.rollback_volume(photos, snapshot["uuid"])
    assert b"as it was" == read(module, renamed, made)
    assert not module.available(renamed, later)

    again = store_at(tmp_path)  # and all of it in another process
    assert b"as it was" == read(again, renamed, made)
    assert b"in the fork" == read(again, fork, both)
    again.keys.shred(again.identity(renamed).key_domain)
    for context, name in ((renamed, made), (fork, both)):
        with pytest.raises(KeyDestroyed):
            read(again, context, name)


def test_sweep_gives_the_inner_module_what_is_live(module: EncryptedStorage) -> None:
    assert isinstance(module, SupportsSweep)
    live, lost, gone = (module.put(BUCKET, io.BytesIO(name)) for name in (b"1", b"2", b"3"))
    module.delete(BUCKET, gone)
    report = module.sweep(BUCKET, [live, gone], older_than=timedelta(0), dry_run=False)
    assert report.quarantined
    assert (gone,) == report.missing
    assert (lost.rpartition("-:")[2],) == report.unreferenced
    assert module.available(BUCKET, live)
    assert not module.available(BUCKET, lost)


def test_statistics_and_capabilities_are_the_inner_module_s_and_more(
    module: EncryptedStorage,
) -> None:
    statistics = module.statistics(BUCKET)
    assert {"capacity", "volume", "encryption"} <= set(statistics)
    assert {"format": "E1", "algorithm": "AES_GCM_256"} == statistics["encryption"]
    capabilities = module.capabilities(BUCKET)
    assert ["AES_GCM_256"] == capabilities["cdmi_encryption"]
    assert "true" == capabilities["cdmi_read_value_range"]
