"""``zfsstore keys`` on directories."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Store, Terminal
from zfsstore.host.services import open_services


@pytest.fixture
def vault(store: Store, tmp_path: Path) -> Store:
    """Return the store with the encrypting module vault, and the tenant hush on it."""
    table, key_file = str(tmp_path / "keys.db"), str(tmp_path / "root.key")
    made = store.json("keys", "init", "--table", table, "--key-file", key_file)
    assert [key_file, "key table"] == made["created"]
    args = tmp_path / "args.json"
    args.write_text(json.dumps({"inner": "default", "keys": made["keys"]}))
    name = "modules.wrappers.encryption.EncryptedStorage"
    store.says("module", "put", "vault", name, "--args", f"@{args}")
    store.says("tenant", "create", "hush", "--policy", "vault")
    with open_services(store.config) as services:
        tenant = services.administration.get_tenant("hush")
        services.objects.create_bucket(tenant, "photos")
    store.put("hush/photos", "plan", "secret plan")
    return store


def keys_of(vault: Store, volume: str) -> list[dict[str, Any]]:
    rows = vault.json("keys", "list", "vault")
    return [row for row in rows if row["volumes"] == [volume]]


def test_init_says_what_to_configure_and_overwrites_nothing(store: Store, tmp_path: Path) -> None:
    argv = ("keys", "init", "--table", str(tmp_path / "t.db"), "--key-file", str(tmp_path / "k"))
    said = store.says(*argv)
    value = json.loads("{" + said + "}")["keys"]
    assert {"table": str(tmp_path / "t.db")} == {"table": value["table"]}
    before = (tmp_path / "k").read_bytes(), (tmp_path / "t.db").read_bytes()
    assert 0o600 == (tmp_path / "k").stat().st_mode & 0o777
    assert (tmp_path / "k").read_text().splitlines()[1][2:] not in said
    assert [] == store.json(*argv)["created"]
    assert before == ((tmp_path / "k").read_bytes(), (tmp_path / "t.db").read_bytes())
    (tmp_path / "k").chmod(0o644)
    assert "chmod 0600" in store.refused(*argv)


def test_what_is_stored_is_encrypted_and_its_key_is_listed(vault: Store, tmp_path: Path) -> None:
    assert "secret plan" == vault.get("hush/photos", "plan")
    for path in vault.config.data_dir.rglob("*"):
        assert not path.is_file() or b"secret plan" not in path.read_bytes()
    (row,) = keys_of(vault, "hush/photos")
    assert (["hush/photos"], 1, "active") == (row["volumes"], row["version"], row["state"])
    header, *lines = vault.says("keys", "list", "vault").splitlines()
    assert ["VOLUMES", "DOMAIN", "VERSION", "STATE", "ROOT", "KEY", "CREATED"] == header.split()
    assert {"hush/photos", "(root)"} == {line.split()[0] for line in lines}
    shown = vault.says("module", "show", "vault", "--json") + vault.says("module", "list")
    assert str(tmp_path) not in shown.replace(str(vault.config.data_dir), "")
    assert (
        "(redacted)" == json.loads(vault.says("module", "show", "vault", "--json"))["args"]["keys"]
    )


def test_root_key_is_rotated(vault: Store, tmp_path: Path) -> None:
    (old,) = {row["root"] for row in vault.json("keys", "list", "vault")}
    done = vault.json("keys", "rotate-root", "vault", "--new-version")
    assert (2, 2) == (done["rewrapped"], done["new_version"])
    assert old != done["root"]
    assert {done["root"]} == {row["root"] for row in vault.json("keys", "list", "vault")}
    assert "wrapped 0 keys" in vault.says("keys", "rotate-root", "vault")
    key_file = tmp_path / "root.key"
    key_file.write_text(key_file.read_text().splitlines()[-1])
    assert "secret plan" == vault.get("hush/photos", "plan")


def test_tenant_key_is_rotated(vault: Store) -> None:
    (row,) = vault.json("keys", "rotate", "vault", "hush")
    assert (2, "active") == (row["version"], row["state"])
    vault.put("hush/photos", "later", "with the new key")
    assert "secret plan" == vault.get("hush/photos", "plan")
    assert "with the new key" == vault.get("hush/photos", "later")
    states = [row["state"] for row in keys_of(vault, "hush/photos")]
    assert ["decrypt-only", "active"] == states
    said = vault.says("keys", "rotate", "vault", "--domain", row["key_domain"])
    assert said == f"{row['key_domain']}: version 3 is active\n"


def test_tenant_is_shredded(vault: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    would = vault.json("keys", "shred", "vault", "hush", "--dry-run")
    assert (["hush/photos"], True) == (would["volumes"], would["dry_run"])
    assert "add --yes" in vault.refused("keys", "shred", "vault", "hush")
    monkeypatch.setattr("sys.stdin", Terminal("other\n"))
    status, _, err = vault.run("keys", "shred", "vault", "hush")
    assert 1 == status
    assert "makes all of hush/photos unreadable for good" in err
    assert "secret plan" == vault.get("hush/photos", "plan")

    assert "destroyed the keys of hush/photos\n" == vault.says(
        "keys", "shred", "vault", "hush", "--yes"
    )

    with pytest.raises(Exception, match="was destroyed on 20"):
        vault.get("hush/photos", "plan")
    assert "first" == vault.get("acme/photos", "plan")
    assert ["destroyed"] == [row["state"] for row in keys_of(vault, "hush/photos")]


@pytest.mark.slow
def test_clones_elsewhere_are_not_shredded_by_the_way(vault: Store) -> None:
    vault.says("tenant", "create", "fan", "--policy", "vault")
    vault.says("clone", "create", "hush/photos", "fan/fork")
    assert "secret plan" == vault.get("fan/fork", "plan")
    refused = vault.refused("keys", "shred", "vault", "fan", "--yes")
    assert "hush/photos has the same keys" in refused
    assert "secret plan" == vault.get("hush/photos", "plan")
    (row,) = [r for r in vault.json("keys", "list", "vault") if "fan/fork" in r["volumes"]]
    done = vault.json("keys", "shred", "vault", "--domain", row["key_domain"], "--yes")
    assert ["fan/fork", "hush/photos"] == done["volumes"]
    for bucket in done["volumes"]:
        with pytest.raises(Exception, match="was destroyed on 20"):
            vault.get(bucket, "plan")


def test_a_wrapper_without_its_inner_module_or_keys_is_not_configured(
    store: Store, tmp_path: Path
) -> None:
    name = "modules.wrappers.encryption.EncryptedStorage"
    keys = {
        "table": str(tmp_path / "t.db"),
        "root": {"provider": "file", "path": str(tmp_path / "k")},
        "create": True,
    }

    def refused(inner: str, keys: dict[str, Any]) -> str:
        args = json.dumps({"inner": inner, "keys": keys})
        return store.refused("module", "put", "vault", name, "--args", args)

    assert "cannot find module absent: there is no vendor module" in refused("absent", keys)
    assert "it would wrap itself" in refused("vault", keys)
    assert "keys.root" in refused("default", keys | {"root": {"provider": "file", "key": "1"}})
    (tmp_path / "k").unlink()
    assert "does not exist" in refused("default", keys | {"create": False})
    assert ["default"] == [row["name"] for row in store.json("module", "list")]


def test_what_cannot_be_done_is_refused(vault: Store) -> None:
    assert "it has no keys" in vault.refused("keys", "list", "default")
    assert "no vendor module of this name" in vault.refused("keys", "list", "absent")
    assert "exactly one is needed" in vault.refused("keys", "rotate", "vault")
    assert "there is none" in vault.refused("keys", "shred", "vault", "absent", "--yes")
    assert "nothing was encrypted yet" in vault.refused("keys", "rotate", "vault", "acme")
    refused = vault.refused("keys", "shred", "vault", "--domain", "f00", "--yes")
    assert "nothing was encrypted yet" in refused


@pytest.fixture
def aged(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let keys that were made just now pass as older than anybody keeps them in memory."""
    monkeypatch.setattr("modules.wrappers.keys.ring.KEEP_S", 0.0)


def test_objects_give_up_the_older_key(vault: Store, aged: None) -> None:
    vault.put("hush/photos", "again", "another plan")
    vault.says("snapshot", "create", "hush/photos", "monday")
    vault.says("keys", "rotate", "vault", "hush")
    vault.put("hush/photos", "later", "with the new key")
    done = vault.json("keys", "rewrap", "vault", "hush/photos")
    (row,) = done["volumes"]
    assert (3, 2, 0, ["monday"]) == tuple(
        row[name] for name in ("seen", "rewrapped", "failed", "snapshots")
    )
    assert [] == done["destroyed"]
    said = vault.says("keys", "rewrap", "vault").splitlines()
    assert [["hush/photos", "3", "0", "0", "1"]] == [line.split() for line in said[1:]]

    assert "add --yes" in vault.refused("keys", "rewrap", "vault", "hush", "--destroy-older")
    states = ["decrypt-only", "active"]
    assert states == [row["state"] for row in keys_of(vault, "hush/photos")]
    said = vault.says("keys", "rewrap", "vault", "hush", "--destroy-older", "--yes")
    assert "destroyed the key of " in said
    assert ["destroyed", "active"] == [row["state"] for row in keys_of(vault, "hush/photos")]
    assert "secret plan" == vault.get("hush/photos", "plan")
    assert "another plan" == vault.get("hush/photos", "again")
    assert "with the new key" == vault.get("hush/photos", "later")


@pytest.mark.slow
def test_a_key_that_is_needed_is_not_destroyed(vault: Store, aged: None) -> None:
    vault.put("hush/photos", "again", "another plan")
    vault.says("keys", "rotate", "vault", "hush")
    damaged = next(
        path
        for path in vault.config.data_dir.glob("objects/**/photos/**/objects/**/*")
        if path.is_file() and path.stat().st_size == 132 + len("another plan") + 16
    )
    damaged.chmod(0o600)
    damaged.write_bytes(b"?" * damaged.stat().st_size)
    status, out, _ = vault.run("keys", "rewrap", "vault", "hush")
    assert 1 == status
    assert ["hush/photos", "2", "1", "1", "0"] == out.splitlines()[1].split()
    assert out.splitlines()[2].startswith("FAILED  hush/photos  e1:")
    refused = vault.refused("keys", "rewrap", "vault", "hush", "--destroy-older", "--yes")
    assert "1 objects still need them" in refused
    assert "secret plan" == vault.get("hush/photos", "plan")

    vault.says("tenant", "create", "fan", "--policy", "vault")
    vault.says("clone", "create", "hush/photos", "fan/fork")
    refused = vault.refused("keys", "rewrap", "vault", "hush", "--destroy-older", "--yes")
    assert "fan/fork has the same keys" in refused
    assert "there is none" in vault.refused("keys", "rewrap", "vault", "hush/absent")
    assert "vault does not encrypt it" in vault.refused("keys", "rewrap", "vault", "acme")


def test_a_key_that_others_may_have_in_memory_is_not_destroyed(vault: Store) -> None:
    vault.says("keys", "rotate", "vault", "hush")
    refused = vault.refused("keys", "rewrap", "vault", "hush", "--destroy-older", "--yes")
    assert "others may still use the older one; try again in 1" in refused


@pytest.mark.slow
def test_packs_of_chunks_give_up_the_older_key(vault: Store, aged: None) -> None:
    name = "modules.wrappers.dedup.DedupStorage"
    vault.says("module", "put", "dedup", name, "--args", '{"inner": "vault"}')
    vault.says("tenant", "create", "lean", "--policy", "dedup")
    with open_services(vault.config) as services:
        tenant = services.administration.get_tenant("lean")
        services.objects.create_bucket(tenant, "photos")
    vault.put("lean/photos", "plan", "lean plan")
    vault.says("keys", "rotate", "vault", "lean")
    (row,) = vault.json("keys", "rewrap", "vault", "lean", "--destroy-older", "--yes")["volumes"]
    assert (2, 1) == (row["seen"], row["rewrapped"])  # an object that needs no key, and a pack
    assert ["destroyed", "active"] == [row["state"] for row in keys_of(vault, "lean/photos")]
    assert "lean plan" == vault.get("lean/photos", "plan")
    assert vault.json("dedup", "fsck", "dedup", "--level", "3")[0]["ok"]
