"""Properties of volumes that are datasets: in the creating command, later, and taken away."""

from __future__ import annotations

import os

import pytest

from modules.errors import InvalidArgument, NoSpace, QuotaExceeded
from modules.volume_properties import PropertyBackend
from tests.storage.helpers import get, put
from tests.zfs.datasets import path_of, value, zfs
from zfsstore import ZFSStorage
from zfsstore.volumes.properties import SETTABLE, check_chosen
from zfsstore.zfs.client import ZfsClient

pytestmark = pytest.mark.zfs

MIB = 1024 * 1024
ONE = {
    "quota": "1G",
    "refquota": "512M",
    "reservation": "10M",
    "refreservation": "5M",
    "compression": "zstd-3",
    "recordsize": "128K",
    "special_small_blocks": "4K",
    "checksum": "sha256",
    "copies": "2",
    "dedup": "off",
    "sync": "always",
    "logbias": "throughput",
    "primarycache": "metadata",
    "secondarycache": "none",
    "redundant_metadata": "most",
    "snapdir": "visible",
    "snapshot_limit": "100",
    "filesystem_limit": "100",
}
OTHER = {
    "quota": "none",
    "refquota": "0",
    "reservation": "none",
    "refreservation": "none",
    "compression": "gzip-9",
    "recordsize": "16M",
    "special_small_blocks": "0",
    "checksum": "blake3",
    "copies": "1",
    "dedup": "sha512,verify",
    "sync": "standard",
    "logbias": "latency",
    "primarycache": "all",
    "secondarycache": "all",
    "redundant_metadata": "all",
    "snapdir": "hidden",
    "snapshot_limit": "none",
    "filesystem_limit": "none",
}
BEFORE_2_2 = {"recordsize": "1M", "checksum": "sha512"}
"""What an older ZFS gets in place of what it does not know."""


def backend_of(store: ZFSStorage) -> PropertyBackend:
    assert isinstance(store.volumes, PropertyBackend)
    return store.volumes


def test_every_property_in_the_table_is_known_to_zfs(store: ZFSStorage, root_dataset: str) -> None:
    volumes = backend_of(store)
    assert set(SETTABLE) == set(ONE) == set(OTHER)
    made = volumes.create_volume("acme", properties=ONE)
    assert 1024 * MIB == made["size_bytes"]
    found = volumes.get_properties(made["uuid"])
    assert check_chosen(ONE) == {name: found[name] for name in ONE}
    assert 16 * 1024 == (store.state_dir({"tenant": "acme"}) / "index.db").stat().st_blksize
    assert "zstd-3" == value(f"{root_dataset}/acme", "compression")

    other = OTHER if ZfsClient().version() >= (2, 2, 0) else OTHER | BEFORE_2_2
    changed = volumes.set_properties(made["uuid"], other)
    assert changed["size_bytes"] is None
    found = volumes.get_properties(made["uuid"])
    assert check_chosen(other) == {name: found[name] for name in other}
    assert "off" == found["encryption"]
    context = {"tenant": "acme"}
    content = os.urandom(3 * MIB)
    assert content == get(store, context, put(store, context, content))


def test_bucket_inherits_and_has_its_own(store: ZFSStorage, root_dataset: str) -> None:
    volumes = backend_of(store)
    volumes.create_volume("parent", properties={"compression": "zstd"})
    volumes.create_volume("parent/a")
    own = {"refquota": "64M", "recordsize": "64K"}
    bucket = volumes.create_volume("parent/b", properties=own)
    assert "zstd" == value(f"{root_dataset}/parent/b", "compression")
    context = {"tenant": "parent/b"}
    object_id = put(store, context, os.urandom(MIB)).rpartition(":")[2]
    path = path_of(store, "parent/b") / ".zfsstore/objects/main" / object_id[:2] / object_id
    assert 64 * 1024 == path.stat().st_blksize
    for _ in range(4):
        put(store, context, os.urandom(12 * MIB))
    with pytest.raises(QuotaExceeded):
        put(store, context, os.urandom(12 * MIB))
    volumes.set_properties(bucket["uuid"], {"refquota": "none"})
    put(store, context, os.urandom(8 * MIB))


def test_what_zfs_refuses_changes_nothing(store: ZFSStorage, root_dataset: str) -> None:
    volumes = backend_of(store)
    huge = str(2**50)
    with pytest.raises(NoSpace):
        volumes.create_volume("huge", properties={"reservation": huge})
    assert f"{root_dataset}/huge" not in zfs("list", "-H", "-o", "name").splitlines()
    made = volumes.create_volume("used", 128 * MIB)
    put(store, {"tenant": "used"}, os.urandom(48 * MIB))
    zfs("snapshot", f"{root_dataset}/used@now")  # which waits until the space is counted
    with pytest.raises(InvalidArgument):
        volumes.set_properties(made["uuid"], {"quota": "32M"})
    assert str(128 * MIB) == volumes.get_properties(made["uuid"])["quota"]
