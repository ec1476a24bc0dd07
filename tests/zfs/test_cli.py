"""What only ZFS offers by command line: properties, locking, streams, NFS exports."""

from __future__ import annotations

import secrets
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import Store
from tests.zfs import nfsserver
from tests.zfs.datasets import destroy_tree, run, value, zfs
from zfsstore.host.bootstrap import bootstrap
from zfsstore.host.services import open_services

pytestmark = pytest.mark.zfs


@pytest.fixture
def dataset(pool: str) -> Iterator[str]:
    name = f"{pool}/cli-{secrets.token_hex(4)}"
    zfs("create", name)
    yield name
    destroy_tree(name)


@pytest.fixture
def store(tmp_path: Path, dataset: str, capsys: pytest.CaptureFixture[str]) -> Store:
    """A store with the tenant acme and its bucket photos in datasets."""
    store = Store(tmp_path / "data", capsys)
    bootstrap(store.config)
    store.says(
        "module", "put", "tank", "zfsstore.ZFSStorage", "--args", f'{{"dataset": "{dataset}"}}'
    )
    store.says("tenant", "create", "acme", "--policy", "tank", "--property", "compression=zstd")
    with open_services(store.config) as services:
        services.objects.create_bucket(services.administration.get_tenant("acme"), "photos")
    store.put("acme/photos", "plan", "first")
    return store


def test_module_check_on_a_dataset(store: Store, dataset: str) -> None:
    checks = ["--rule", "put.binary", "--rule", "volumes.create"]
    arguments = ["zfsstore.ZFSStorage", "--args", f'{{"dataset": "{dataset}"}}']
    report = store.json("module", "check", *arguments, *checks)
    assert ["passed", "passed"] == [rule["outcome"] for rule in report["rules"]]


def test_properties_quotas_and_streams(store: Store, dataset: str, tmp_path: Path) -> None:
    assert "zstd" == store.json("volume", "get", "acme/photos", "compression")["compression"]
    assert "no property 'mountpoint'" in store.refused("volume", "get", "acme", "mountpoint")
    assert store.refused("volume", "set", "acme", "mountpoint=/etc", "--dry-run")
    store.says("volume", "set", "acme/photos", "compression=lz4", "--dry-run")
    assert "zstd" == value(f"{dataset}/acme/photos", "compression")
    store.says("volume", "set", "acme/photos", "compression=lz4")
    assert "lz4" == value(f"{dataset}/acme/photos", "compression")

    assert "quota=1.0 GiB" in store.says("tenant", "set", "acme", "--quota", "1GiB")
    assert str(1 << 30) == value(f"{dataset}/acme", "quota")
    assert store.json("volume", "resize", "acme", "none")["quota_bytes"] is None
    assert "0" == value(f"{dataset}/acme", "quota")
    assert store.json("tenant", "show", "acme")["quota_bytes"] is None

    store.says("snapshot", "create", "acme", "monday")
    command = [sys.executable, "-m", "zfsstore.cli", "--data", str(store.config.data_dir), "volume"]
    file = tmp_path / "stream"
    with file.open("wb") as sink:
        subprocess.run([*command, "send", "acme/photos@monday"], stdout=sink, check=True)
    with file.open("rb") as source:
        subprocess.run([*command, "receive", "acme/copy"], stdin=source, check=True)
    assert "first" == store.get("acme/copy", "plan")
    assert store.json("volume", "show", "acme/copy")["read_only"]
    store.says("volume", "break-off", "acme/copy")
    store.put("acme/copy", "plan", "other")
    assert "online" in store.says("volume", "list", "acme")


def test_a_locked_tenant(store: Store, tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_bytes(secrets.token_bytes(32))
    key.chmod(0o600)
    chosen = ("--key-file", str(key))
    store.says("tenant", "create", "vault", "--policy", "tank", *chosen)
    with open_services(store.config) as services:
        services.objects.create_bucket(services.administration.get_tenant("vault"), "secrets")
    store.put("vault/secrets", "plan", "hidden")

    assert "would lock vault\n" == store.says("volume", "lock", "vault", "--dry-run")
    assert "hidden" == store.get("vault/secrets", "plan")
    assert "locked vault\n" == store.says("volume", "lock", "vault")
    assert store.refused("volume", "lock", "acme")
    assert "unavailable" == store.json("volume", "get", "vault", "keystatus")["keystatus"]
    wrong = tmp_path / "wrong"
    wrong.write_bytes(secrets.token_bytes(32))
    wrong.chmod(0o600)
    assert store.refused("volume", "unlock", "vault", "--key-file", str(wrong))
    assert "unlocked vault\n" == store.says(
        "volume", "unlock", "vault", "--key-command", f"cat {key}"
    )
    assert "hidden" == store.get("vault/secrets", "plan")


@pytest.mark.skipif(not nfsserver.is_possible(), reason="needs a machine of its own: tools/zfs-vm")
@pytest.mark.parametrize("way", [(), ("--sharenfs",)])
def test_exports(store: Store, dataset: str, tmp_path: Path, way: tuple[str, ...]) -> None:
    add = ("export", "add", "acme/photos", "--client", "127.0.0.1", *way)
    with nfsserver.serving():
        planned = store.json(*add, "--dry-run")
        assert [] == store.json("export", "list")
        assert "not exported" in store.refused("export", "show", "acme/photos")
        assert "read-only" in store.refused(*add, "--option", "rw")
        assert {**planned, "dry_run": False} == store.json(*add)

        (row,) = store.json("export", "list")
        assert ("acme/photos", "sharenfs" if way else "files") == (row["volume"], row["by"])
        shown = store.json("export", "show", "acme/photos")
        assert store.json("volume", "show", "acme/photos")["uuid"] == shown["fsid"]
        path = Path(shown["path"])
        (path / "files").mkdir()
        (path / "files/plan").write_text("by name")
        with nfsserver.mounted(str(path), tmp_path / "client") as client:
            assert "by name" == (client / "files/plan").read_text()
            with pytest.raises(OSError, match="Read-only"):
                (client / "written").touch()
        for refused in (
            ("volume", "rename", "acme/photos", "acme/other"),
            ("volume", "rename", "acme", "emca"),
            ("volume", "destroy", "acme/photos", "--yes"),
        ):
            assert "export remove acme/photos" in store.refused(*refused)

        store.says("export", "remove", "acme/photos", "--dry-run")
        assert 1 == len(store.json("export", "list"))
        assert "withdrew the export of acme/photos\n" == store.says(
            "export", "remove", "acme/photos"
        )
        assert [] == store.json("export", "list")
        assert "/acme" not in run("exportfs", "-v")
        store.says("volume", "rename", "acme/photos", "acme/other")
