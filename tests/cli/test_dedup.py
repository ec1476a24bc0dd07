"""``zfsstore dedup`` on directories, above encryption."""

from __future__ import annotations

import json
import random
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Store
from zfsstore.host.services import open_services

DEDUP = "modules.wrappers.dedup.DedupStorage"
TEXT = random.Random(1).randbytes(150_000).hex()  # four chunks and more


@pytest.fixture
def plain(store: Store) -> Store:
    """Return the store with the tenant lean, whose bucket photos is deduplicated."""
    return _deduplicated(store, "default")


@pytest.fixture
def sealed(store: Store, tmp_path: Path) -> Store:
    """The same, above encryption."""
    made = store.json(
        *("keys", "init", "--table", str(tmp_path / "keys.db")),
        *("--key-file", str(tmp_path / "root.key")),
    )
    args = tmp_path / "args.json"
    args.write_text(json.dumps({"inner": "default", "keys": made["keys"]}))
    name = "modules.wrappers.encryption.EncryptedStorage"
    store.says("module", "put", "vault", name, "--args", f"@{args}")
    return _deduplicated(store, "vault")


def _deduplicated(store: Store, inner: str) -> Store:
    store.says("module", "put", "dedup", DEDUP, "--args", json.dumps({"inner": inner}))
    store.says("tenant", "create", "lean", "--policy", "dedup")
    with open_services(store.config) as services:
        tenant = services.administration.get_tenant("lean")
        services.objects.create_bucket(tenant, "photos")
        services.objects.create_bucket(tenant, "empty")
    store.put("lean/photos", "one", TEXT)
    store.put("lean/photos", "two", TEXT)
    return store


def delete(store: Store, key: str) -> None:
    with open_services(store.config) as services:
        tenant = services.administration.get_tenant("lean")
        services.objects.delete_object(tenant, "photos", key)


def index_of(store: Store) -> Path:
    paths = store.config.data_dir.glob("objects/**/photos/**/dedup.db")
    (found,) = (path for path in paths if "snapshots" not in path.parts)
    return found


def stats(store: Store) -> dict[str, Any]:
    (row,) = store.json("dedup", "stats", "dedup", "lean/photos")
    assert isinstance(row, dict)
    return row


def test_stats_tell_what_is_saved(plain: Store) -> None:
    row = stats(plain)
    assert (2, 2 * len(TEXT)) == (row["objects"], row["logical_bytes"])
    assert row["stored_bytes"] < len(TEXT)  # of which each character is half a byte
    assert 3 < row["ratio"] < 4
    assert row["chunks"] > 4
    header, *lines = plain.says("dedup", "stats", "dedup").splitlines()
    assert ["VOLUME", "OBJECTS", "LOGICAL", "STORED"] == header.split()[:4]
    assert ["lean/empty", "lean/photos", "total"] == [line.split()[0] for line in lines]
    assert ["0", "0", "B", "0", "B", "0", "B", "0", "0", "-"] == lines[0].split()[1:]
    assert not list(plain.config.data_dir.glob("objects/**/empty/**/dedup.db"))


def test_collect_and_compact(plain: Store) -> None:
    for number in range(4):
        plain.put("lean/photos", f"small{number}", TEXT[number * 1000 :][:500])
    delete(plain, "small0")
    (row,) = plain.json("dedup", "collect", "dedup", "lean/photos", "--grace", "0s")
    assert (1, 1) == (row["chunks"], row["packs"])
    (row,) = plain.json("dedup", "compact", "dedup", "lean")
    assert (4, 1) == (row["emptied"], row["made"])
    assert 5 == len(plain.says("dedup", "collect", "dedup").splitlines()[1].split()) - 2
    (row,) = plain.json("dedup", "collect", "dedup", "--grace", "0s")
    assert 4 == row["packs"]
    assert 1 == stats(plain)["packs"]
    assert "PACKS MADE" in plain.says("dedup", "compact", "dedup", "lean/photos")
    assert TEXT == plain.get("lean/photos", "one")


def test_fsck_finds_damage_and_puts_counts_right(plain: Store) -> None:
    for level in "0123":
        (row,) = plain.json("dedup", "fsck", "dedup", "--level", level)
        assert (True, 2, int(level)) == (row["ok"], row["objects"], row["level"])
    _sql(plain, "UPDATE chunk SET refs = refs + 3 WHERE refs > 0")
    assert " 0\n" in plain.says("dedup", "fsck", "dedup", "--level", "2")
    status, out, _ = plain.run("dedup", "fsck", "dedup", "--level", "3", "--json")
    assert (1, False) == (status, json.loads(out)[0]["ok"])
    (row,) = plain.json("dedup", "fsck", "dedup", "--refs")
    assert row["repaired"] == row["problem_count"] > 0
    assert "references" not in plain.says("dedup", "fsck", "dedup", "--refs")
    status, out, err = plain.run("dedup", "fsck", "dedup", "--progress")
    assert (0, "lean/photos: 1 packs in 0 s\n") == (status, err)

    _sql(plain, "UPDATE pack SET bytes = bytes + 1")
    status, out, _ = plain.run("dedup", "fsck", "dedup", "lean/photos", "--level", "0")
    assert 1 == status
    assert "lean/photos  pack z1:" in out


def test_a_lost_index_is_made_anew(plain: Store) -> None:
    before = stats(plain)
    index = index_of(plain)
    for path in index.parent.glob("dedup.db*"):
        path.unlink()
    assert "but it has no index" in plain.refused("dedup", "fsck", "dedup")
    bucket = ("dedup", "rebuild-index", "dedup", "lean/photos")
    assert "add --yes" in plain.refused(*bucket)
    assert "from 1 packs for 2 objects" in plain.says(*bucket, "--dry-run")
    assert not index.exists()
    assert "anew: 2 objects" in plain.says(*bucket, "--yes")
    assert before == stats(plain)
    assert TEXT == plain.get("lean/photos", "two")
    assert plain.json("dedup", "fsck", "dedup", "--level", "3")[0]["ok"]
    assert "knows no object in it" in plain.refused(*bucket[:-1], "lean/empty", "--yes")
    for wrong in ((), ("lean",)):
        assert "name one bucket" in plain.refused("dedup", "rebuild-index", "dedup", *wrong)


@pytest.mark.slow
def test_a_damaged_index_of_encrypted_packs_is_made_anew_with_a_snapshot(sealed: Store) -> None:
    sealed.says("snapshot", "create", "lean/photos", "monday")
    sealed.put("lean/photos", "later", TEXT[:5000])
    index = index_of(sealed)
    for path in index.parent.glob("dedup.db*"):
        path.unlink()
    index.write_bytes(b"no database " * 2000)
    assert "rebuild it" in sealed.refused("dedup", "fsck", "dedup")
    bucket = ("dedup", "rebuild-index", "dedup", "lean/photos")
    assert "name a snapshot" in sealed.refused(*bucket, "--yes")
    status, out, err = sealed.run(*bucket, "--snapshot", "monday", "--yes", "--json")
    assert "" == err
    done = json.loads(out)
    assert (1, 2, 1) == (status, done["objects"], len(done["lost"]))
    assert TEXT == sealed.get("lean/photos", "one")
    (old,) = index.parent.glob("dedup.db.replaced-*")
    assert old.read_bytes().startswith(b"no database")
    assert not (index.parent / "dedup.renewing").exists()


def test_what_cannot_be_done_is_refused(plain: Store) -> None:
    assert "it does not deduplicate" in plain.refused("dedup", "stats", "default")
    assert "no vendor module of this name" in plain.refused("dedup", "stats", "absent")
    assert "there is none" in plain.refused("dedup", "collect", "dedup", "acme/photos/x")
    assert 2 == plain.run("dedup", "fsck", "dedup", "--level", "4")[0]


def _sql(store: Store, statement: str) -> None:
    connection = sqlite3.connect(index_of(store))
    with connection:
        connection.execute(statement)
    connection.close()
