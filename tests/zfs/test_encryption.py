"""Encrypted tenants: locked they refuse everything, with one error that says what to do."""

from __future__ import annotations

import io
import os
import secrets
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from modules.errors import Busy, InvalidArgument, Locked, StorageError
from modules.volume_properties import EncryptionKey
from tests.host.serving import Server, path_of
from tests.storage.helpers import get, put
from tests.zfs.datasets import named, value, zfs
from zfsstore import ZFSStorage
from zfsstore.volumes.zfs import ZfsVolumes
from zfsstore.zfs.errors import KeyUnavailable
from zfsstore.zfs.recording import Record, RecordingRunner
from zfsstore.zfs.runner import LocalRunner

pytestmark = pytest.mark.zfs

RECORDS: list[Record] = []


@pytest.fixture(scope="module")
def store(root_dataset: str) -> ZFSStorage:
    store = ZFSStorage(dataset=root_dataset, runner=RecordingRunner(LocalRunner(), RECORDS.append))
    volumes_of(store).patience_s = 1.0
    return store


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("keys")


def volumes_of(store: ZFSStorage) -> ZfsVolumes:
    assert isinstance(store.volumes, ZfsVolumes)
    return store.volumes


def raw_key(keys: Path) -> EncryptionKey:
    path = keys / secrets.token_hex(4)
    path.write_bytes(os.urandom(32))
    path.chmod(0o600)
    return EncryptionKey(file=str(path))


@contextmanager
def encrypted(store: ZFSStorage, name: str, key: EncryptionKey) -> Iterator[str]:
    """An encrypted tenant with a bucket called box, gone in the end."""
    volumes = volumes_of(store)
    made = volumes.create_volume(name, encryption=key)
    volumes.create_volume(f"{name}/box")
    yield made["uuid"]
    volumes.destroy_volume(named(store, name)["uuid"])


def uses(store: ZFSStorage, context: dict[str, Any], module_data: str) -> list[Callable[[], Any]]:
    """Every use of a volume that there is."""
    frozen = {**context, "snapshot": "monday"}
    return [
        lambda: put(store, context, b"x"),
        lambda: store.put(context, io.BytesIO(b"x")),
        lambda: store.get_read_stream(context, module_data),
        lambda: store.get_read_stream(frozen, module_data),
        lambda: store.delete(context, module_data),
        lambda: store.copy(context, module_data, {}),
        lambda: store.copy(frozen, module_data, {}),
        lambda: store.compose(context, [module_data]),
        lambda: store.statistics(context),
        lambda: store.state_dir(context),
        lambda: store.state_dir(frozen),
        lambda: store.identity(context),
        lambda: store.sweep(context, [], older_than=timedelta(0), dry_run=False),
    ]


def test_locked_tenant_refuses_everything_until_it_is_unlocked(
    store: ZFSStorage, root_dataset: str, keys: Path
) -> None:
    volumes = volumes_of(store)
    key = raw_key(keys)
    context = {"tenant": "vault/box"}
    with encrypted(store, "vault", key) as tenant:
        content = os.urandom(100_000)
        stored = put(store, context, content)
        bucket = named(store, "vault/box")["uuid"]
        snapshot = volumes.create_snapshot(bucket, "monday")
        assert content == get(store, {**context, "snapshot": "monday"}, stored)
        with store.get_read_stream(context, stored) as reader:
            with pytest.raises(Busy):
                volumes.lock_volume(tenant)
            assert content == reader.read()
        put(store, context, b"still in use")

        assert "offline" == volumes.lock_volume(tenant)["state"]
        volumes.lock_volume(tenant)
        assert "unavailable" == value(f"{root_dataset}/vault/box", "keystatus")
        assert ["offline"] * 2 == [
            volume["state"] for volume in volumes.list_volumes() if "vault" in volume["name"]
        ]
        mountpoint = Path(volumes.access_handle(tenant)["path"])
        restarted = ZFSStorage(dataset=root_dataset)
        for one in (store, restarted):
            for name in ("vault", "vault/box"):
                for use in uses(one, {"tenant": name}, stored):
                    with pytest.raises(Locked, match="zfsstore volume unlock vault"):
                        use()
            assert not one.available(context, stored)
        refused: list[Callable[[], Any]] = [
            lambda: volumes.create_volume("vault/late"),
            lambda: volumes.create_clone(bucket, snapshot["uuid"], "vault/fork"),
            lambda: volumes.rollback_volume(bucket, snapshot["uuid"]),
            lambda: volumes.delete_volume(bucket),
            lambda: volumes.delete_volume(tenant),
            lambda: volumes.rename_volume(tenant, "safe"),
            lambda: volumes.create_volume("vault"),
        ]
        for call in refused:
            with pytest.raises(Locked):
                call()
        assert not mountpoint.exists() or [] == os.listdir(mountpoint)
        volumes.create_snapshots([tenant, bucket], "locked")  # harms nothing

        with pytest.raises(InvalidArgument, match="key of this dataset"):
            volumes.unlock_volume(tenant, raw_key(keys))
        with pytest.raises(KeyUnavailable, match="No such file"):
            volumes.unlock_volume(tenant, EncryptionKey(file=str(keys / "absent")))
        with pytest.raises(KeyUnavailable, match="exit status 1"):
            volumes.unlock_volume(tenant, EncryptionKey(command=("false",)))
        with pytest.raises(InvalidArgument, match="given by hand"):
            volumes.unlock_volume(tenant)
        with pytest.raises(Locked):
            get(store, context, stored)

        assert key.file is not None
        volumes.unlock_volume(tenant, EncryptionKey(command=("cat", key.file)))
        assert "online" == volumes.unlock_volume(tenant, key)["state"]
        for one in (store, restarted):
            assert content == get(one, context, stored)
            assert content == get(one, {**context, "snapshot": "monday"}, stored)
        put(store, context, b"in use again")


def test_key_is_in_no_command(store: ZFSStorage, keys: Path) -> None:
    secret = secrets.token_hex(32)
    script = f"import sys; sys.stdout.write('{secret}')"
    path = keys / "print.py"
    path.write_text(script)
    key = EncryptionKey(command=(sys.executable, str(path)), format="hex", cipher="aes-256-gcm")
    with encrypted(store, "hex", key) as tenant:
        stored = put(store, {"tenant": "hex/box"}, b"content")
        volumes_of(store).lock_volume(tenant)
        volumes_of(store).unlock_volume(tenant, key)
        assert b"content" == get(store, {"tenant": "hex/box"}, stored)
    assert any("load-key" in record["argv"] for record in RECORDS)
    assert secret not in repr(RECORDS)


def test_tenant_locked_behind_our_back(store: ZFSStorage, root_dataset: str, keys: Path) -> None:
    key = raw_key(keys)
    with encrypted(store, "hands", key) as tenant:
        stored = put(store, {"tenant": "hands/box"}, b"content")
        zfs("unmount", f"{root_dataset}/hands")
        zfs("unload-key", f"{root_dataset}/hands")
        with pytest.raises(Locked):
            get(store, {"tenant": "hands/box"}, stored)
        volumes_of(store).unlock_volume(tenant, key)
        zfs("unmount", f"{root_dataset}/hands/box")
        with pytest.raises(StorageError, match="mount it"):
            get(store, {"tenant": "hands/box"}, stored)
        volumes_of(store).unlock_volume(tenant, key)
        assert b"content" == get(store, {"tenant": "hands/box"}, stored)


def test_trash_of_an_encrypted_tenant(store: ZFSStorage, root_dataset: str, keys: Path) -> None:
    volumes = volumes_of(store)
    key = raw_key(keys)
    context = {"tenant": "bin/box"}
    with encrypted(store, "bin", key) as tenant:
        stored = put(store, context, b"content")
        bucket = named(store, "bin/box")["uuid"]
        volumes.delete_volume(bucket)
        (entry,) = volumes.list_trash()
        assert ("bin/box", bucket) == (entry.name, entry.uuid)
        assert ["bin"] == [v["name"] for v in volumes.list_volumes() if "bin" in v["name"]]
        volumes.restore_volume(entry.id)
        assert b"content" == get(store, context, stored)
        with pytest.raises(InvalidArgument, match="must stay in it"):
            volumes.rename_volume(bucket, "elsewhere/box")
        (made,) = volumes.create_snapshots([bucket], "now")
        fork = volumes.create_clone(bucket, made["uuid"], "bin/fork")
        assert b"content" == get(store, {"tenant": "bin/fork"}, stored)
        volumes.delete_volume(fork["uuid"])
        assert ["bin/fork"] == [
            one.name for one in volumes.empty_trash(older_than=timedelta(0), dry_run=False)
        ]

        volumes.delete_volume(tenant)
        (entry,) = volumes.list_trash()
        zfs("unload-key", f"{root_dataset}/.trash/{entry.id}")  # as a reboot does
        assert "offline" == volumes.restore_volume(entry.id)["state"]
        with pytest.raises(Locked):
            get(store, context, stored)
        volumes.unlock_volume(tenant, key)
        assert b"content" == get(store, context, stored)


def test_interrupted_creation_is_completed_with_the_key(
    store: ZFSStorage, root_dataset: str, keys: Path
) -> None:
    volumes = volumes_of(store)
    key = raw_key(keys)
    with encrypted(store, "torn", key) as tenant:
        volume = Path(volumes.access_handle(tenant)["path"])
        (volume / ".zfsstore/volume.json").unlink()
        zfs("destroy", f"{root_dataset}/torn/box")
        zfs("set", "recordsize=16K", f"{root_dataset}/torn")
        zfs("unmount", f"{root_dataset}/torn")
        zfs("unload-key", f"{root_dataset}/torn")
        with pytest.raises(Locked):
            volumes.create_volume("torn")
        assert tenant == volumes.create_volume("torn", encryption=key)["uuid"]
        put(store, {"tenant": "torn"}, b"complete")


def test_clients_of_a_locked_tenant_are_told(
    store: ZFSStorage, root_dataset: str, keys: Path, tmp_path: Path
) -> None:
    volumes = volumes_of(store)
    volumes.patience_s = 30.0
    key = raw_key(keys)
    volumes.create_volume("acme", encryption=key)
    tenant = named(store, "acme")["uuid"]
    server = Server(tmp_path / "data", workers=1).start()
    admin = server.client()
    spec = {"module": "zfsstore.ZFSStorage", "args": {"dataset": root_dataset}}
    assert 204 == admin.put_json("/cdmi/system_configuration/vendor_modules/tank", spec).status
    made = admin.put_json("/cdmi/system_configuration/users/acme", {"policy": "tank"})
    user = server.client("acme", made.json()["password"])
    assert 201 == user.put(path_of("photos", is_container=True)).status
    assert 201 == user.put(path_of("photos", "one"), b"content").status

    volumes.lock_volume(tenant)
    for _ in range(2):  # the second time after a restart
        for answer in (
            user.get(path_of("photos", "one")),
            user.put(path_of("photos", "two"), b"content"),
            user.delete(path_of("photos", "one")),
            user.get(path_of("photos", is_container=True)),
            user.put(path_of("more", is_container=True)),
        ):
            assert (503, "locked") == (answer.status, answer.error["code"])
            assert "encrypted and locked" in answer.error["message"]
        assert 0 == server.stop()
        server = Server(tmp_path / "data", workers=1).start()
        user = server.client("acme", made.json()["password"])
    volumes.unlock_volume(tenant, key)
    assert b"content" == user.get(path_of("photos", "one")).body
    assert 0 == server.stop()
