"""``zfsstore volume`` on directories."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import Store, Terminal


def names(store: Store) -> list[str]:
    return [row["name"] for row in store.json("volume", "list", "acme")]


def test_volumes_are_listed_each_tenant_before_its_buckets(store: Store) -> None:
    rows = store.json("volume", "list", "acme")

    assert ["acme", "acme/photos"] == [row["name"] for row in rows]
    members = {"name", "uuid", "state", "read_only", "quota_bytes", "used_bytes", "clone_of"}
    assert members == set(rows[1])
    header, *lines = store.says("volume", "list").splitlines()
    assert ["VOLUME", "USED", "QUOTA", "STATE", "CLONE", "OF"] == header.split()
    assert lines[1].startswith("acme/photos")
    assert "no tenant" in store.refused("volume", "list", "nobody")


def test_a_volume_is_shown_with_its_path_and_snapshots(store: Store) -> None:
    store.says("snapshot", "create", "acme/photos", "monday")

    shown = store.json("volume", "show", "acme/photos")

    assert ("acme/photos", "online", 1) == (shown["name"], shown["state"], shown["snapshots"])
    assert Path(shown["path"], ".zfsstore/volume.json").exists()
    assert f"path       {shown['path']}\n" in store.says("volume", "show", "acme/photos")
    assert "acme/none" in store.refused("volume", "show", "acme/none")
    assert store.refused("volume", "show", "acme/a/b")


def test_a_bucket_is_renamed(store: Store) -> None:
    uuid = store.json("volume", "show", "acme/photos")["uuid"]

    renamed = store.json("volume", "rename", "acme/photos", "acme/pictures")

    assert {"name": "acme/pictures", "renamed_from": "acme/photos", "dry_run": False} == renamed
    assert uuid == store.json("volume", "show", "acme/pictures")["uuid"]
    assert "first" == store.get("acme/pictures", "plan")
    assert store.refused("volume", "rename", "acme/photos", "acme/again")


def test_a_tenant_is_renamed_with_its_buckets_and_users(store: Store) -> None:
    store.says("user", "create", "alice", "--tenant", "acme")

    assert "renamed acme to emca\n" == store.says("volume", "rename", "acme", "emca")

    assert "first" == store.get("emca/photos", "plan")
    assert "emca" == store.json("user", "show", "alice")["tenant"]
    assert store.refused("tenant", "show", "acme")


def test_a_name_that_is_taken_or_none_is_refused(store: Store) -> None:
    store.says("clone", "create", "acme/photos", "acme/fork")
    for wrong in ("acme/fork", "acme/cdmi_x", "acme/..", "nobody/photos", "acme", "other"):
        assert store.refused("volume", "rename", "acme/photos", wrong)
        assert store.refused("volume", "rename", "acme/photos", wrong, "--dry-run")
    assert ["acme", "acme/fork", "acme/photos"] == names(store)


def test_a_quota_is_changed_in_volume_and_catalog(store: Store) -> None:
    assert "changed the quota of acme from - to 1.0 GiB\n" == store.says(
        "volume", "resize", "acme", "1GiB"
    )
    assert 1 << 30 == store.json("tenant", "show", "acme")["quota_bytes"]
    changed = store.json("volume", "resize", "acme/photos", "2MB")
    assert {
        "name": "acme/photos",
        "quota_bytes": 2_000_000,
        "quota_bytes_before": None,
        "dry_run": False,
    } == changed
    assert 2_000_000 == store.json("volume", "show", "acme/photos")["quota_bytes"]
    assert "in use" in store.refused("volume", "resize", "acme/photos", "2")


def test_a_tenant_gets_another_quota(store: Store) -> None:
    changed = store.json("tenant", "set", "acme", "--quota", "1GiB")
    assert (1 << 30, False) == (changed["quota_bytes"], changed["dry_run"])
    assert "nothing is to be changed" in store.refused("tenant", "set", "acme")
    assert store.refused("tenant", "set", "nobody", "--quota", "1GiB")


def test_a_bucket_is_destroyed_with_its_snapshots(store: Store) -> None:
    store.says("snapshot", "create", "acme/photos", "monday")
    plan = store.json("volume", "destroy", "acme/photos", "--dry-run")
    assert (True, "acme/photos") == (plan["dry_run"], plan["name"])
    assert any("monday" in name for name in plan["destroyed"])

    destroyed = store.json("volume", "destroy", "acme/photos", "--yes")

    assert {**plan, "dry_run": False} == destroyed
    assert ["acme"] == names(store)
    assert [] == store.json("trash", "list")
    assert store.refused("volume", "destroy", "acme/photos", "--yes")


def test_a_tenant_is_not_destroyed(store: Store) -> None:
    assert "not a bucket" in store.refused("volume", "destroy", "acme", "--yes")


def test_what_destroys_wants_to_be_confirmed(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "add --yes" in store.refused("volume", "destroy", "acme/photos")

    monkeypatch.setattr("sys.stdin", Terminal("acme/phptos\n"))
    status, out, err = store.run("volume", "destroy", "acme/photos")
    assert (1, "") == (status, out)
    assert "this destroys acme/photos" in err
    assert "Type acme/photos to destroy volume: " in err
    assert "it was not confirmed" in err
    assert ["acme", "acme/photos"] == names(store)

    monkeypatch.setattr("sys.stdin", Terminal("acme/photos\n"))
    status, out, _ = store.run("volume", "destroy", "acme/photos")
    assert 0 == status
    assert out.startswith("destroyed acme/photos")
    assert ["acme"] == names(store)


DRY_RUNS = """\
volume rename acme/photos acme/pictures
volume rename acme emca
volume resize acme 1GiB
tenant set acme --quota 1GiB
volume destroy acme/fork
volume send acme/photos@monday
volume receive acme/new
snapshot create acme tuesday
snapshot delete acme/photos@monday
snapshot rollback acme/photos@monday
clone create acme/photos@monday acme/new
clone promote acme/fork
trash restore TRASHED
trash empty --older-than 0s"""


def test_a_dry_run_changes_nothing(store: Store) -> None:
    store.says("snapshot", "create", "acme/photos", "before")
    store.says("clone", "create", "acme/photos@before", "acme/fork")
    store.says("clone", "create", "acme/photos@before", "acme/gone")
    store.delete_bucket("acme/gone")
    store.says("snapshot", "create", "acme/photos", "monday")
    (trashed,) = store.json("trash", "list")
    before = store.state()

    for command in DRY_RUNS.replace("TRASHED", trashed["id"]).splitlines():
        assert store.json(*command.split(), "--dry-run")["dry_run"] is True
        assert store.says(*command.split(), "--dry-run").startswith("would ")
        assert before == store.state(), command
