"""Quotas of directory volumes: nothing is stored beyond them, and nothing is lost of them."""

from __future__ import annotations

import io
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


@pytest.fixture
def limited(store: ZFSStorage) -> dict[str, Any]:
    """The context of a bucket of 100 KB in a tenant of 150 KB, beside an unlimited bucket."""
    store.volumes.create_volume("acme", 150 * KB)
    store.volumes.create_volume("acme/photos", 100 * KB)
    store.volumes.create_volume("acme/rest")
    return {"tenant": "acme/photos"}


REST = {"tenant": "acme/rest"}


def used(store: ZFSStorage, name: str = "acme/photos") -> int | None:
    (volume,) = (v for v in store.volumes.list_volumes() if v["name"] == name)
    return volume.get("used_bytes")


def test_full_bucket_refuses_and_can_be_read_and_emptied(
    store: ZFSStorage, root: Path, limited: dict[str, Any]
) -> None:
    first = put(store, limited, bytes(60 * KB))
    with pytest.raises(QuotaExceeded) as caught:
        put(store, limited, bytes(41 * KB))
    assert (caught.value.limit_bytes, caught.value.used_bytes) == (100 * KB, 60 * KB)
    assert len(object_files(root / "acme/photos")) == 1
    assert get(store, limited, first) == bytes(60 * KB)
    second = put(store, limited, bytes(40 * KB))
    store.delete(limited, first)
    store.delete(limited, second)
    assert (used(store), used(store, "acme")) == (0, 0)


def test_tenant_quota_covers_all_its_buckets(store: ZFSStorage, limited: dict[str, Any]) -> None:
    put(store, limited, bytes(90 * KB))
    with pytest.raises(QuotaExceeded, match="acme:"):
        put(store, REST, bytes(61 * KB))
    put(store, REST, bytes(60 * KB))
    assert (used(store), used(store, "acme")) == (90 * KB, 150 * KB)


def test_refusal_by_the_tenant_gives_the_bucket_back_its_bytes(
    store: ZFSStorage, limited: dict[str, Any]
) -> None:
    put(store, REST, bytes(100 * KB))
    with pytest.raises(QuotaExceeded):
        put(store, limited, bytes(60 * KB))
    assert used(store) == 0


def test_unknown_length_is_counted_as_it_comes(
    store: ZFSStorage, root: Path, limited: dict[str, Any]
) -> None:
    stream = Broken(AssertionError("read on"), blocks=10**6, block=bytes(1024 * 1024))
    with pytest.raises(QuotaExceeded):
        store.put(limited, stream)
    assert stream.reads == 1
    assert object_files(root / "acme/photos") == []
    store.put(limited, io.BytesIO(bytes(100 * KB)))
    assert used(store) == 100 * KB


def test_failed_put_gives_everything_back(store: ZFSStorage, limited: dict[str, Any]) -> None:
    for context in (limited, {**limited, "content_length": 50 * KB}):
        with pytest.raises(KeyError):
            store.put(context, Broken(KeyError("x")))
    assert (used(store), used(store, "acme")) == (0, 0)


def test_deleting_twice_gives_back_once(store: ZFSStorage, limited: dict[str, Any]) -> None:
    first, _second = put(store, limited, bytes(KB)), put(store, limited, bytes(KB))
    store.delete(limited, first)
    store.delete(limited, first)
    assert used(store) == KB


def test_volume_without_quota_has_no_counter(
    store: ZFSStorage, root: Path, bucket: dict[str, Any]
) -> None:
    put(store, bucket, b"x")
    assert not list(root.rglob("usage"))


def test_quota_given_later_counts_what_is_there(store: ZFSStorage, bucket: dict[str, Any]) -> None:
    put(store, bucket, bytes(70 * KB))
    (volume,) = (v for v in store.volumes.list_volumes() if v["name"] == "acme/photos")
    patched = store.volumes.patch_volume(volume["uuid"], 100 * KB)
    assert (patched["size_bytes"], patched.get("used_bytes")) == (100 * KB, 70 * KB)
    with pytest.raises(QuotaExceeded):
        put(store, bucket, bytes(31 * KB))


def test_statistics_show_the_tightest_quota(store: ZFSStorage, limited: dict[str, Any]) -> None:
    put(store, REST, bytes(80 * KB))
    put(store, limited, bytes(10 * KB))
    found = store.statistics(limited)["capacity"]
    assert found == {"total": 100 * KB, "free": 60 * KB, "used": 40 * KB}


def test_sweep_repairs_a_counter_that_drifted(
    store: ZFSStorage, root: Path, limited: dict[str, Any]
) -> None:
    put(store, limited, bytes(KB))
    for name in ("acme", "acme/photos"):
        (root / name / ".zfsstore/usage").write_bytes(b"\xff" * 6 + bytes(10))
    store.sweep(limited, [], older_than=timedelta(hours=24), dry_run=False)
    assert (used(store), used(store, "acme")) == (KB, KB)


def test_sweep_leaves_the_counter_alone_while_a_put_is_in_flight(
    store: ZFSStorage, root: Path, limited: dict[str, Any]
) -> None:
    (root / "acme/photos/.zfsstore/usage").write_bytes((5 * KB).to_bytes(8, "little") + bytes(8))
    (root / "acme/photos/.zfsstore/objects/main/00/.tmp-1").write_bytes(b"x")
    store.sweep(limited, [], older_than=timedelta(hours=24), dry_run=False)
    assert used(store) == 5 * KB


def test_lost_counter_is_counted_again(
    store: ZFSStorage, root: Path, limited: dict[str, Any]
) -> None:
    put(store, limited, bytes(KB))
    (root / "acme/photos/.zfsstore/usage").write_bytes(b"")
    assert used(store) == KB


def test_processes_together_never_exceed_a_quota(root: Path, limited: dict[str, Any]) -> None:
    script = """
import io, sys
from modules.errors import QuotaExceeded
from zfsstore import ZFSStorage
store = ZFSStorage(directory=sys.argv[1])
stored = 0
try:
    while True:
        store.put({"tenant": "acme/photos"}, io.BytesIO(bytes(3000)))
        stored += 1
except QuotaExceeded:
    print(stored)
"""
    workers = [
        subprocess.Popen([sys.executable, "-c", script, str(root)], stdout=subprocess.PIPE)
        for _ in range(3)
    ]
    stored = sum(int(worker.communicate()[0]) for worker in workers)
    assert stored == 100 * KB // 3000
    assert len(object_files(root / "acme/photos")) == stored
