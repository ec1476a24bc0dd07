"""Quotas of directory volumes: nothing is stored beyond them, and nothing is lost of them."""

from __future__ import annotations

import io
import itertools
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from modules.errors import QuotaExceeded
from tests.storage.helpers import Broken, get, object_files, put
from zfsstore import ZFSStorage

KB = 1000
DAY = timedelta(hours=24)

_numbers = itertools.count(1)


class Limited:
    """A bucket of 100 KB in a tenant of 150 KB."""

    def __init__(self, store: ZFSStorage, root: Path, tenant: str) -> None:
        self.store = store
        self.tenant = tenant
        self.name = f"{tenant}/photos"
        self.context = {"tenant": self.name}
        self.path = root / self.name
        store.volumes.create_volume(tenant, 150 * KB)
        store.volumes.create_volume(self.name, 100 * KB)

    def add_unlimited_bucket(self) -> dict[str, Any]:
        """Return the context of a bucket beside it that has no quota of its own."""
        self.store.volumes.create_volume(f"{self.tenant}/rest")
        return {"tenant": f"{self.tenant}/rest"}

    def used(self) -> tuple[int | None, int | None]:
        """Return what the counters of the bucket and of the tenant say."""
        used = {v["name"]: v.get("used_bytes") for v in self.store.volumes.list_volumes()}
        return used[self.name], used[self.tenant]


@pytest.fixture
def limited(store: ZFSStorage, root: Path) -> Limited:
    return Limited(store, root, f"tenant{next(_numbers)}")


def test_full_bucket_refuses_and_can_be_read_and_emptied(
    store: ZFSStorage, limited: Limited
) -> None:
    first = put(store, limited.context, bytes(60 * KB))
    with pytest.raises(QuotaExceeded) as caught:
        put(store, limited.context, bytes(41 * KB))
    assert (caught.value.limit_bytes, caught.value.used_bytes) == (100 * KB, 60 * KB)
    assert len(object_files(limited.path)) == 1
    assert get(store, limited.context, first) == bytes(60 * KB)
    second = put(store, limited.context, bytes(40 * KB))
    store.delete(limited.context, first)
    store.delete(limited.context, first)
    assert limited.used() == (40 * KB, 40 * KB)
    store.delete(limited.context, second)
    assert limited.used() == (0, 0)


def test_tenant_quota_covers_all_its_buckets(store: ZFSStorage, limited: Limited) -> None:
    rest = limited.add_unlimited_bucket()
    put(store, limited.context, bytes(90 * KB))
    with pytest.raises(QuotaExceeded, match=f"{limited.tenant}:"):
        put(store, rest, bytes(61 * KB))
    put(store, rest, bytes(60 * KB))
    assert limited.used() == (90 * KB, 150 * KB)
    with pytest.raises(QuotaExceeded):
        put(store, limited.context, bytes(KB))
    assert limited.used() == (90 * KB, 150 * KB)  # the bucket gave its part back
    found = store.statistics(limited.context)["capacity"]
    assert found == {"total": 100 * KB, "free": 0, "used": 100 * KB}


def test_unknown_length_is_counted_as_it_comes(store: ZFSStorage, limited: Limited) -> None:
    stream = Broken(AssertionError("read on"), blocks=10**6, block=bytes(1024 * 1024))
    with pytest.raises(QuotaExceeded):
        store.put(limited.context, stream)
    assert stream.reads == 1
    assert object_files(limited.path) == []
    store.put(limited.context, io.BytesIO(bytes(100 * KB)))
    assert limited.used() == (100 * KB, 100 * KB)


def test_failed_put_gives_everything_back(store: ZFSStorage, limited: Limited) -> None:
    for context in (limited.context, {**limited.context, "content_length": 50 * KB}):
        with pytest.raises(KeyError):
            store.put(context, Broken(KeyError("x")))
    assert limited.used() == (0, 0)


def test_quota_given_later_counts_what_is_there(
    store: ZFSStorage, volume: Path, bucket: dict[str, Any]
) -> None:
    put(store, bucket, bytes(70 * KB))
    assert not (volume / ".zfsstore/usage").exists()
    (found,) = (v for v in store.volumes.list_volumes() if v["name"] == bucket["tenant"])
    patched = store.volumes.patch_volume(found["uuid"], 100 * KB)
    assert (patched["size_bytes"], patched.get("used_bytes")) == (100 * KB, 70 * KB)
    with pytest.raises(QuotaExceeded):
        put(store, bucket, bytes(31 * KB))


def test_sweep_repairs_counters_that_drifted(
    store: ZFSStorage, root: Path, limited: Limited
) -> None:
    put(store, limited.context, bytes(KB))
    for name in (limited.tenant, limited.name):
        (root / name / ".zfsstore/usage").write_bytes(b"\xff" * 6 + bytes(10))
    store.sweep(limited.context, [], older_than=DAY, dry_run=False)
    assert limited.used() == (KB, KB)


def test_sweep_leaves_the_counter_alone_while_a_put_is_in_flight(
    store: ZFSStorage, limited: Limited
) -> None:
    counter = limited.path / ".zfsstore/usage"
    counter.write_bytes((5 * KB).to_bytes(8, "little") + bytes(8))
    (limited.path / ".zfsstore/objects/main/00/.tmp-1").write_bytes(b"x")
    store.sweep(limited.context, [], older_than=DAY, dry_run=False)
    assert limited.used()[0] == 5 * KB


def test_lost_counter_is_counted_again(store: ZFSStorage, limited: Limited) -> None:
    put(store, limited.context, bytes(KB))
    (limited.path / ".zfsstore/usage").write_bytes(b"")
    assert limited.used() == (KB, KB)


def test_processes_together_never_exceed_a_quota(root: Path, limited: Limited) -> None:
    script = """
import io, sys
from modules.errors import QuotaExceeded
from zfsstore import ZFSStorage
store = ZFSStorage(directory=sys.argv[1])
stored = 0
try:
    while True:
        store.put({"tenant": sys.argv[2]}, io.BytesIO(bytes(3000)))
        stored += 1
except QuotaExceeded:
    print(stored)
"""
    argv = [sys.executable, "-c", script, str(root), limited.name]
    workers = [subprocess.Popen(argv, stdout=subprocess.PIPE) for _ in range(3)]
    stored = sum(int(worker.communicate()[0]) for worker in workers)
    assert stored == 100 * KB // 3000
    assert len(object_files(limited.path)) == stored
