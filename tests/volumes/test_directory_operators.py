"""Clones, rollback, names, trash and destruction of directory volumes."""

from __future__ import annotations

import io
import json
import os
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from modules import fences
from modules.errors import (
    Busy,
    HasDependents,
    InvalidArgument,
    QuotaExceeded,
    SnapshotExists,
    VolumeNotFound,
)
from tests.volumes.contents import add, backend, describe, items, live_items, remove
from zfsstore import ZFSStorage

BUCKET = "acme/photos"


@pytest.fixture
def tenant(store: ZFSStorage) -> str:
    """The uuid of the tenant acme, which has a quota of 1,000 bytes."""
    return store.volumes.create_volume("acme", 1000)["uuid"]


@pytest.fixture
def bucket(store: ZFSStorage, tenant: str) -> str:
    """The uuid of a bucket with an object of 100 bytes and a snapshot "first" of that."""
    uuid = store.volumes.create_volume(BUCKET, 500)["uuid"]
    add(store, BUCKET, b"1" * 100)
    backend(store).create_snapshot(uuid, "first")
    return uuid


def snapshot(store: ZFSStorage, volume: str, name: str) -> str:
    listed = backend(store).list_snapshots(volume)
    return next(one["uuid"] for one in listed if one["name"] == name)


def names(store: ZFSStorage) -> list[str]:
    return [volume["name"] for volume in store.volumes.list_volumes()]


def used(store: ZFSStorage, uuid: str) -> int | None:
    volume = store.volumes.get_volume(uuid)
    assert volume is not None
    return volume.get("used_bytes")


def record(root: Path, volume: str) -> dict[str, object]:
    found: dict[str, object] = json.loads((root / volume / ".zfsstore/volume.json").read_text())
    return found


def test_clone_keeps_the_key_domain_and_counts_to_its_tenant(
    store: ZFSStorage, root: Path, tenant: str, bucket: str
) -> None:
    made = backend(store).create_clone(bucket, snapshot(store, bucket, "first"), "acme/fork")
    parent, clone = record(root, BUCKET), record(root, "acme/fork")
    assert (clone["key_domain"], clone["name"]) == (parent["key_domain"], "fork")
    assert clone["uuid"] != parent["uuid"]
    assert made["size_bytes"] is None
    assert used(store, tenant) == 200
    store.volumes.delete_volume(made["uuid"])
    assert used(store, tenant) == 100


def test_origin_is_shown_under_its_present_name(
    store: ZFSStorage, tenant: str, bucket: str
) -> None:
    clone = backend(store).create_clone(bucket, snapshot(store, bucket, "first"), "acme/fork")
    backend(store).rename_volume(bucket, "acme/pictures")
    found = store.volumes.get_volume(clone["uuid"])
    assert found is not None
    assert found["clone"] == {"parent_volume": "acme/pictures", "parent_snapshot": "first"}
    store.volumes.delete_volume(bucket)
    found = store.volumes.get_volume(clone["uuid"])
    assert found is not None
    assert "clone" not in found
    with pytest.raises(InvalidArgument, match="no clone"):
        backend(store).promote_volume(clone["uuid"])


def test_promoted_clone_of_a_clone_takes_its_place(store: ZFSStorage, bucket: str) -> None:
    volumes = backend(store)
    first = volumes.create_clone(bucket, snapshot(store, bucket, "first"), "acme/one")["uuid"]
    made = volumes.create_snapshot(first, "of one")["uuid"]
    second = volumes.create_clone(first, made, "acme/two")["uuid"]
    volumes.promote_volume(second)
    origins = {v["name"]: v.get("clone") for v in volumes.list_volumes() if "/" in v["name"]}
    assert origins == {
        BUCKET: None,
        "acme/one": {"parent_volume": "acme/two", "parent_snapshot": "of one"},
        "acme/two": {"parent_volume": BUCKET, "parent_snapshot": "first"},
    }


def test_promote_refuses_a_clash_of_names(store: ZFSStorage, bucket: str) -> None:
    volumes = backend(store)
    clone = volumes.create_clone(bucket, snapshot(store, bucket, "first"), "acme/fork")["uuid"]
    volumes.create_snapshot(clone, "first")
    before = describe(store)
    with pytest.raises(SnapshotExists, match="first"):
        volumes.promote_volume(clone)
    assert describe(store) == before


def test_rollback_keeps_name_quota_and_quarantine_and_counts_again(
    store: ZFSStorage, root: Path, tenant: str, bucket: str
) -> None:
    lost = store.put({"tenant": BUCKET}, io.BytesIO(b"lost")).rpartition(":")[2]
    os.utime(root / BUCKET / f".zfsstore/objects/main/{lost[:2]}/{lost}", (0, 0))
    add(store, BUCKET, b"2" * 50)
    live = list(live_items(store, BUCKET))
    store.sweep({"tenant": BUCKET}, live, older_than=timedelta(hours=1), dry_run=False)
    backend(store).patch_volume(bucket, 600)
    made = backend(store).rollback_volume(bucket, snapshot(store, bucket, "first"))
    assert (made["name"], made["size_bytes"], made["used_bytes"]) == (BUCKET, 600, 100)
    assert used(store, tenant) == 100
    assert list(live_items(store, BUCKET).values()) == [b"1" * 100]
    assert [p.name for p in (root / BUCKET).glob(".zfsstore/quarantine/*/*/*")] == [lost]
    assert os.listdir(root / ".zfsstore/work") == []


def test_rollback_waits_for_whoever_uses_the_volume(store: ZFSStorage, bucket: str) -> None:
    add(store, BUCKET, b"2")
    before = describe(store)
    volumes = backend(store)
    volumes.patience_s = 0.05
    target = snapshot(store, bucket, "first")
    with fences.hold(store.fence({"tenant": BUCKET})):
        for change in (
            lambda: volumes.rollback_volume(bucket, target),
            lambda: volumes.rename_volume(bucket, "acme/other"),
            lambda: volumes.delete_volume(bucket),
            lambda: volumes.destroy_volume(bucket),
        ):
            with pytest.raises(Busy):
                change()
    assert describe(store) == before


def test_tenant_waits_for_its_buckets(store: ZFSStorage, tenant: str, bucket: str) -> None:
    volumes = backend(store)
    volumes.patience_s = 0.05
    with fences.hold(store.fence({"tenant": BUCKET})):
        with pytest.raises(Busy):
            volumes.rename_volume(tenant, "beta")
        with pytest.raises(Busy):
            volumes.delete_volume(tenant)
    generation = fences.generation(store.fence({"tenant": BUCKET}))
    volumes.rename_volume(tenant, "beta")
    assert fences.generation(store.fence({"tenant": BUCKET})) == generation + 1
    assert fences.generation(store.fence({"tenant": "beta/photos"})) == 1


def test_rollback_beyond_a_clone_of_a_newer_snapshot_is_refused(
    store: ZFSStorage, bucket: str
) -> None:
    volumes = backend(store)
    newer = volumes.create_snapshot(bucket, "second")["uuid"]
    clone = volumes.create_clone(bucket, newer, "acme/fork")["uuid"]
    target = snapshot(store, bucket, "first")
    with pytest.raises(HasDependents, match="acme/fork"):
        volumes.rollback_volume(bucket, target, destroy_newer=True)
    volumes.destroy_volume(clone)
    volumes.rollback_volume(bucket, target, destroy_newer=True)
    assert [one["name"] for one in volumes.list_snapshots(bucket)] == ["first"]


def test_renamed_tenant_takes_its_buckets_along(
    store: ZFSStorage, tenant: str, bucket: str
) -> None:
    backend(store).rename_volume(tenant, "Bücher")
    assert names(store) == ["Bücher", "Bücher/photos"]
    assert list(live_items(store, "Bücher/photos").values()) == [b"1" * 100]
    assert backend(store).rename_volume(tenant, "Bücher")["uuid"] == tenant


def test_bucket_moves_to_a_tenant_with_room_for_it(
    store: ZFSStorage, tenant: str, bucket: str
) -> None:
    small = store.volumes.create_volume("small", 99)["uuid"]
    with pytest.raises(QuotaExceeded):
        backend(store).rename_volume(bucket, "small/photos")
    store.volumes.patch_volume(small, 100)
    backend(store).rename_volume(bucket, "small/photos")
    assert (used(store, tenant), used(store, small)) == (0, 100)
    with pytest.raises(VolumeNotFound, match="tenant"):
        backend(store).rename_volume(bucket, "absent/photos")
    for uuid, name in ((bucket, "photos"), (tenant, "small/acme")):
        with pytest.raises(InvalidArgument):
            backend(store).rename_volume(uuid, name)


def test_destroyed_tenant_is_gone_with_its_buckets_and_snapshots(
    store: ZFSStorage, root: Path, tenant: str, bucket: str
) -> None:
    volumes = backend(store)
    volumes.create_volume("beta")
    first = snapshot(store, bucket, "first")
    clone = volumes.create_clone(bucket, first, "beta/fork")["uuid"]
    with pytest.raises(HasDependents, match="beta/fork"):
        volumes.plan_destroy(tenant)
    with pytest.raises(HasDependents, match="beta/fork"):
        volumes.destroy_volume(tenant)
    volumes.promote_volume(clone)
    plan = volumes.plan_destroy(tenant)
    assert plan.names == (BUCKET, "acme")
    assert plan.reclaim_bytes > 8192
    volumes.destroy_volume(tenant)
    assert names(store) == ["beta", "beta/fork"]
    assert volumes.list_trash() == []
    assert os.listdir(root / ".zfsstore/work") == []
    assert list(live_items(store, "beta/fork").values()) == [b"1" * 100]


def test_listing_waits_for_a_change_and_finishes_an_interrupted_one(
    store: ZFSStorage, root: Path, tenant: str, bucket: str
) -> None:
    """A rename that was killed after its first step, the rename itself."""
    intent = root / ".zfsstore/intent"
    intent.mkdir(exist_ok=True)
    content = (root / BUCKET / ".zfsstore/volume.json").read_text().replace("photos", "new")
    steps = [
        ["move", "acme/photos", "acme/new"],
        ["write", "acme/new/.zfsstore/volume.json", content],
    ]
    (intent / "change.json").write_text(json.dumps({"format": 1, "steps": steps}))
    (root / BUCKET).rename(root / "acme/new")
    assert names(ZFSStorage(directory=str(root))) == ["acme", "acme/new"]
    assert record(root, "acme/new")["name"] == "new"
    assert os.listdir(intent) == []


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        '{"format": 1, "steps": [["move", "../x", "y"]]}',
        '{"format": 2, "steps": []}',
    ],
)
def test_unreadable_record_of_a_change_stops_changes_with_a_clear_error(
    store: ZFSStorage, root: Path, content: str
) -> None:
    (root / ".zfsstore/intent").mkdir(exist_ok=True)
    (root / ".zfsstore/intent/change.json").write_text(content)
    with pytest.raises(Exception, match="unfinished"):
        store.volumes.create_volume("acme")
    assert (root / ".zfsstore/intent/change.json").read_text() == content


def test_objects_deleted_in_one_volume_stay_in_the_others(store: ZFSStorage, bucket: str) -> None:
    volumes = backend(store)
    volumes.create_clone(bucket, snapshot(store, bucket, "first"), "acme/fork")
    (module_data,) = live_items(store, BUCKET)
    remove(store, "acme/fork", module_data)
    assert list(live_items(store, BUCKET)) == [module_data]
    with closing(items(store, "acme/fork")) as connection:
        assert connection.execute("SELECT count(*) FROM item").fetchone() == (0,)
