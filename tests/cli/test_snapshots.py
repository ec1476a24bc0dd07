"""``zfsstore snapshot`` and ``zfsstore clone`` on directories."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from tests.cli.conftest import Store


def listed(store: Store, name: str = "acme/photos") -> list[str]:
    return [f"{row['volume']}@{row['name']}" for row in store.json("snapshot", "list", name)]


def test_a_bucket_is_frozen(store: Store) -> None:
    made = store.json("snapshot", "create", "acme/photos", "monday")

    (row,) = made["created"]
    assert ("acme/photos", "monday", False) == (row["volume"], row["name"], made["dry_run"])
    assert {"volume", "name", "uuid", "used_bytes", "created_at"} == set(row)
    age = datetime.now(UTC) - datetime.fromisoformat(row["created_at"])
    assert timedelta(seconds=-2) < age < timedelta(minutes=5)
    header, line = store.says("snapshot", "list", "acme/photos").splitlines()
    assert ["SNAPSHOT", "CREATED", "USED"] == header.split()
    assert line.startswith("acme/photos@monday  20")
    assert [] == listed(store, "acme")[1:]


def test_a_tenant_is_frozen_with_all_its_buckets(store: Store) -> None:
    out = store.says("snapshot", "create", "acme", "monday")

    assert "created snapshot acme@monday\ncreated snapshot acme/photos@monday\n" == out
    assert ["acme@monday", "acme/photos@monday"] == listed(store, "acme")
    assert ["acme/photos@monday"] == listed(store)
    store.says("snapshot", "delete", "acme@monday", "--yes")
    assert [] == listed(store, "acme")


def test_a_wrong_or_taken_name_is_refused(store: Store) -> None:
    store.says("snapshot", "create", "acme/photos", "monday")
    for argv in (
        ("create", "acme/photos", "monday"),
        ("create", "acme", "monday"),
        ("create", "acme/photos", "a@b"),
        ("create", "acme/photos", "a/b"),
        ("create", "acme/none", "x"),
        ("create", "nobody", "x"),
    ):
        assert store.refused("snapshot", *argv)
        assert store.refused("snapshot", *argv, "--dry-run")
    for argv in (
        ("list", "acme/none"),
        ("delete", "acme/photos@none", "--yes"),
        ("rollback", "acme/photos@none", "--yes"),
    ):
        assert store.refused("snapshot", *argv)
    assert ["acme/photos@monday"] == listed(store, "acme")


def test_what_is_no_snapshot_is_a_wrong_command_line(store: Store) -> None:
    for wrong in ("acme/photos", "@monday", "acme/photos@"):
        status, out, err = store.run("snapshot", "delete", wrong)
        assert (2, "") == (status, out)
        assert "write acme/photos@monday" in err


def test_a_snapshot_is_deleted_when_confirmed(store: Store) -> None:
    store.says("snapshot", "create", "acme/photos", "monday")
    assert "add --yes" in store.refused("snapshot", "delete", "acme/photos@monday")
    assert ["acme/photos@monday"] == listed(store)

    deleted = store.json("snapshot", "delete", "acme/photos@monday", "--yes")

    assert {"deleted": ["acme/photos@monday"], "dry_run": False} == deleted
    assert [] == listed(store)


def test_a_bucket_is_rolled_back(store: Store) -> None:
    store.says("snapshot", "create", "acme/photos", "monday")
    store.put("acme/photos", "plan", "second")
    assert "add --yes" in store.refused("snapshot", "rollback", "acme/photos@monday")
    assert "second" == store.get("acme/photos", "plan")

    out = store.says("snapshot", "rollback", "acme/photos@monday", "--yes")

    assert "rolled back acme/photos to monday\n" == out
    assert "first" == store.get("acme/photos", "plan")


def test_newer_snapshots_are_destroyed_only_when_asked_for(store: Store) -> None:
    for name in ("monday", "tuesday", "wednesday"):
        store.says("snapshot", "create", "acme/photos", name)
    refused = store.refused("snapshot", "rollback", "acme/photos@monday", "--yes")
    assert "2 newer snapshots (tuesday, wednesday)" in refused

    done = store.json("snapshot", "rollback", "acme/photos@monday", "--yes", "--destroy-newer")

    assert ["acme/photos@tuesday", "acme/photos@wednesday"] == done["destroyed"]
    assert ["acme/photos@monday"] == listed(store)


def test_a_clone_is_a_bucket_of_its_own(store: Store) -> None:
    store.says("snapshot", "create", "acme/photos", "monday")
    store.put("acme/photos", "plan", "second")

    made = store.json("clone", "create", "acme/photos@monday", "acme/fork")

    assert ("acme/fork", "acme/photos@monday") == (made["name"], made["source"])
    assert "first" == store.get("acme/fork", "plan")
    store.put("acme/fork", "plan", "third")
    assert "second" == store.get("acme/photos", "plan")


def test_a_clone_of_the_present_takes_a_snapshot_of_its_own(store: Store) -> None:
    assert "created acme/fork from acme/photos\n" == store.says(
        "clone", "create", "acme/photos", "acme/fork"
    )
    (name,) = listed(store)
    assert name.startswith("acme/photos@fork-20")
    assert "first" == store.get("acme/fork", "plan")


def test_a_clone_is_promoted_and_its_origin_destroyed(store: Store) -> None:
    store.says("snapshot", "create", "acme/photos", "monday")
    store.says("clone", "create", "acme/photos@monday", "acme/fork")
    assert "acme/photos@monday" == store.json("volume", "show", "acme/fork")["clone_of"]

    promoted = store.json("clone", "promote", "acme/fork")

    assert ("acme/photos@monday", None) == (promoted["was_clone_of"], promoted["clone_of"])
    assert ["acme/fork@monday"] == listed(store, "acme")
    assert "acme/fork@monday" == store.json("volume", "show", "acme/photos")["clone_of"]
    store.says("volume", "destroy", "acme/photos", "--yes")
    assert "first" == store.get("acme/fork", "plan")


def test_what_cannot_be_cloned_or_promoted_is_refused(store: Store) -> None:
    for argv in (
        ("create", "acme/photos@none", "acme/fork"),
        ("create", "acme/none", "acme/fork"),
        ("create", "acme/photos", "acme/photos"),
        ("create", "acme/photos", "nobody/fork"),
        ("create", "acme/photos", "acme/.."),
        ("create", "acme/photos", "fork"),
        ("promote", "acme/photos"),
        ("promote", "acme/none"),
    ):
        assert store.refused("clone", *argv)
        assert store.refused("clone", *argv, "--dry-run")
    assert ["acme", "acme/photos"] == [r["name"] for r in store.json("volume", "list", "acme")]
