"""``zfsstore trash`` on directories."""

from __future__ import annotations

import pytest

from tests.cli.conftest import Store, Terminal


def test_a_deleted_bucket_is_listed_and_restored(store: Store) -> None:
    store.says("snapshot", "create", "acme/photos", "monday")
    store.delete_bucket("acme/photos")

    (row,) = store.json("trash", "list")
    assert {"id", "module", "name", "uuid", "trashed_at", "used_bytes"} == set(row)
    assert ("acme/photos", "default") == (row["name"], row["module"])
    header, line = store.says("trash", "list").splitlines()
    assert ["ID", "NAME", "DELETED", "USED", "MODULE"] == header.split()
    assert line.startswith(row["id"])

    restored = store.json("trash", "restore", row["id"], "--name", "acme/old")

    assert ("acme/old", row["uuid"]) == (restored["name"], restored["uuid"])
    assert [] == store.json("trash", "list")
    assert ["monday"] == [r["name"] for r in store.json("snapshot", "list", "acme/old")]


def test_a_deleted_tenant_is_restored_with_what_it_was(store: Store) -> None:
    store.delete_bucket("acme/photos")
    store.says("tenant", "set", "acme", "--quota", "1GiB")
    store.says("tenant", "delete", "acme")
    rows = {row["name"]: row["id"] for row in store.json("trash", "list")}
    assert {"acme/photos", "acme"} == set(rows)

    assert "restored acme\n" == store.says("trash", "restore", rows["acme"])

    shown = store.json("tenant", "show", "acme")
    assert ("default", 1 << 30) == (shown["policy"], shown["quota_bytes"])
    assert "restored acme/photos\n" == store.says("trash", "restore", rows["acme/photos"])


def test_what_is_in_the_way_or_not_there_is_refused(store: Store) -> None:
    assert "nothing of this id" in store.refused("trash", "restore", "none")
    store.says("clone", "create", "acme/photos", "acme/fork")
    store.delete_bucket("acme/fork")
    (row,) = store.json("trash", "list")
    for taken in (("--name", "acme/photos"), ("--name", "acme/photos", "--dry-run")):
        assert store.refused("trash", "restore", row["id"], *taken)
    assert [row] == store.json("trash", "list")


def test_the_trash_is_emptied_by_age(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    store.delete_bucket("acme/photos")
    assert "nothing is that old\n" == store.says("trash", "empty", "--older-than", "1d")
    assert "add --yes" in store.refused("trash", "empty", "--older-than", "0s")

    monkeypatch.setattr("sys.stdin", Terminal("trash\n"))
    status, out, err = store.run("trash", "empty", "--older-than", "0s", "--json")

    assert 0 == status
    assert "this destroys acme/photos" in err
    assert '"name": "acme/photos"' in out
    assert [] == store.json("trash", "list")
    assert "nothing is that old\n" == store.says("trash", "empty", "--older-than", "0s", "--yes")
