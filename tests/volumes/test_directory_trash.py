"""What is deleted can be taken back, until an operator empties the trash."""

from __future__ import annotations

from datetime import timedelta

import pytest

from modules.errors import (
    InvalidArgument,
    VolumeExists,
    VolumeNotFound,
)
from tests.volumes.contents import add, backend, describe
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


def test_trash_gives_back_a_tenant_with_all_that_was_in_it(
    store: ZFSStorage, tenant: str, bucket: str
) -> None:
    before = describe(store)
    backend(store).delete_volume(tenant)
    (entry,) = backend(store).list_trash()
    assert (entry.uuid, entry.name) == (tenant, "acme")
    assert entry.used_bytes > 4 * 1024 * 1024
    assert backend(store).restore_volume(entry.id)["name"] == "acme"
    assert describe(store) == before


def test_restore_refuses_what_does_not_fit(store: ZFSStorage, tenant: str, bucket: str) -> None:
    volumes = backend(store)
    volumes.delete_volume(bucket)
    (entry,) = volumes.list_trash()
    for trash_id in ("", ".", "..", "../acme", "unknown"):
        with pytest.raises(VolumeNotFound):
            volumes.restore_volume(trash_id)
    with pytest.raises(InvalidArgument):
        volumes.restore_volume(entry.id, "photos")
    with pytest.raises(VolumeNotFound):
        volumes.restore_volume(entry.id, "absent/photos")
    volumes.create_volume(BUCKET)
    with pytest.raises(VolumeExists):
        volumes.restore_volume(entry.id)
    assert volumes.restore_volume(entry.id, "acme/again")["uuid"] == bucket
    assert volumes.list_trash() == []


def test_trash_is_emptied_by_age_and_only_when_told(
    store: ZFSStorage, tenant: str, bucket: str
) -> None:
    volumes = backend(store)
    volumes.delete_volume(bucket)
    assert volumes.empty_trash(older_than=timedelta(hours=1), dry_run=False) == []
    (entry,) = volumes.empty_trash(older_than=timedelta(0))
    assert volumes.list_trash() == [entry]
    assert volumes.empty_trash(older_than=timedelta(0), dry_run=False) == [entry]
    assert volumes.list_trash() == []
    with pytest.raises(InvalidArgument):
        volumes.empty_trash(older_than=timedelta(-1))
