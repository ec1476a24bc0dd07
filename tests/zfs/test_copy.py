"""Copies that share blocks: inside a bucket, between buckets and tenants, from a snapshot."""

from __future__ import annotations

import os
from typing import Any

import pytest

from modules.errors import QuotaExceeded
from tests.storage.helpers import get, object_files, put
from tests.zfs.datasets import named, path_of, run
from zfsstore import ZFSStorage
from zfsstore.zfs.client import ZfsClient
from zfsstore.zfs.runner import LocalRunner

pytestmark = pytest.mark.zfs

MIB = 1024 * 1024
HAS_CLONING = (2, 3, 0)
"""The first release in which it is on unless somebody turned it off."""


@pytest.fixture
def other(store: ZFSStorage) -> dict[str, Any]:
    tenant = f"other-{os.urandom(3).hex()}"
    store.volumes.create_volume(tenant)
    return {"tenant": tenant}


def saved_bytes(pool: str) -> int | None:
    """Return what block cloning saves in the pool, None where ZFS has none."""
    run("zpool", "sync", pool)
    if ZfsClient().version() < HAS_CLONING:
        return None
    return int(LocalRunner()(["zpool", "get", "-Hp", "-o", "value", "bclonesaved", pool])["stdout"])


def test_copies_share_their_blocks(
    store: ZFSStorage, pool: str, bucket: dict[str, Any], other: dict[str, Any]
) -> None:
    content = os.urandom(4 * MIB)
    source = put(store, bucket, content)
    before = saved_bytes(pool)  # which also writes the source to disk: only then it can be cloned
    made = [store.copy(bucket, source, context) for context in (bucket, other)]
    for context, module_data in zip((bucket, other), made, strict=True):
        assert content == get(store, context, module_data)
    after = saved_bytes(pool)
    if before is not None and after is not None:
        assert after - before >= 2 * len(content)
    store.delete(bucket, source)
    assert content == get(store, other, made[1])
    for context, module_data in zip((bucket, other), made, strict=True):
        store.delete(context, module_data)


def test_joined_objects_share_whole_records(
    store: ZFSStorage, pool: str, bucket: dict[str, Any]
) -> None:
    contents = [os.urandom(2 * MIB), os.urandom(3 * MIB), b"tail"]
    parts = [put(store, bucket, content) for content in contents]
    before = saved_bytes(pool)
    made = store.compose(bucket, parts)
    assert b"".join(contents) == get(store, bucket, made)
    after = saved_bytes(pool)
    if before is not None and after is not None:
        assert after - before >= 5 * MIB
    turned = store.compose(bucket, reversed(parts))  # nothing lies at the start of a record
    assert b"".join(reversed(contents)) == get(store, bucket, turned)


def test_object_just_written_can_be_copied(store: ZFSStorage, bucket: dict[str, Any]) -> None:
    content = os.urandom(MIB + 1)
    source = put(store, bucket, content)
    assert content == get(store, bucket, store.copy(bucket, source, bucket))


def test_copy_from_a_snapshot_brings_an_object_back(
    store: ZFSStorage, bucket: dict[str, Any]
) -> None:
    source = put(store, bucket, b"as it was")
    volumes: Any = store.volumes
    volumes.create_snapshot(named(store, str(bucket["tenant"]))["uuid"], "monday")
    store.delete(bucket, source)
    made = store.copy({**bucket, "snapshot": "monday"}, source, bucket)
    assert b"as it was" == get(store, bucket, made)


def test_copies_that_do_not_fit_leave_nothing(store: ZFSStorage, bucket: dict[str, Any]) -> None:
    source = put(store, bucket, os.urandom(24 * MIB))
    store.volumes.create_volume("narrow", 48 * MIB)
    narrow = {"tenant": "narrow"}
    store.copy(bucket, source, narrow)
    kept = object_files(path_of(store, "narrow"))
    with pytest.raises(QuotaExceeded):
        store.copy(bucket, source, narrow)
    assert kept == object_files(path_of(store, "narrow"))
