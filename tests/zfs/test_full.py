"""Full volumes and a full pool: still readable, listable, deletable and restartable."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from modules.errors import NoSpace, QuotaExceeded
from modules.state import open_database
from tests.storage.helpers import get, object_files, put
from tests.zfs.datasets import destroy_tree, fill, path_of, run, zfs
from zfsstore import ZFSStorage

pytestmark = pytest.mark.zfs

MIB = 1024 * 1024


def fill_by_puts(store: ZFSStorage, context: dict[str, Any]) -> list[str]:
    stored = []
    block = os.urandom(4 * MIB)
    while True:
        try:
            stored.append(put(store, context, block))
        except QuotaExceeded:
            return stored


def use_database(store: ZFSStorage, context: dict[str, Any]) -> None:
    """Do what an index does: open, write a row, read it, close."""
    connection = open_database(store.state_dir(context), "index")
    connection.execute("CREATE TABLE IF NOT EXISTS t (x)")
    connection.execute("INSERT INTO t VALUES (1)")
    assert connection.execute("SELECT max(x) FROM t").fetchone() == (1,)
    connection.close()


def test_puts_stop_before_the_headroom_and_everything_goes_on(
    store: ZFSStorage, root_dataset: str
) -> None:
    store.volumes.create_volume("limited", 64 * MIB)
    context = {"tenant": "limited"}
    stored = fill_by_puts(store, context)
    assert len(stored) >= 8
    found = store.statistics(context)
    assert found["capacity"]["free"] >= found["volume"]["headroom_bytes"]
    unlimited = {**context, "content_length": None}
    with pytest.raises(QuotaExceeded):
        store.put(unlimited, io.BytesIO(os.urandom(12 * MIB)))
    assert len(object_files(path_of(store, "limited"))) == len(stored)
    again = ZFSStorage(dataset=root_dataset)
    use_database(again, context)
    assert len(get(again, context, stored[0])) == 4 * MIB
    for module_data in stored:
        again.delete(context, module_data)
    put(again, context, b"room again")


def test_quota_of_the_tenant_stops_its_buckets(store: ZFSStorage) -> None:
    store.volumes.create_volume("parent", 64 * MIB)
    for bucket in ("a", "b"):
        store.volumes.create_volume(f"parent/{bucket}")
    fill_by_puts(store, {"tenant": "parent/a"})
    with pytest.raises(QuotaExceeded):
        put(store, {"tenant": "parent/b"}, os.urandom(4 * MIB))
    use_database(store, {"tenant": "parent/b"})


def test_bucket_filled_by_another_tool_can_be_used_and_emptied(
    store: ZFSStorage, root_dataset: str
) -> None:
    store.volumes.create_volume("dd", 48 * MIB)
    context = {"tenant": "dd"}
    stored = [put(store, context, os.urandom(MIB)) for _ in range(3)]
    fill(path_of(store, "dd") / "by-hand")
    with pytest.raises(QuotaExceeded):
        put(store, context, b"x")
    again = ZFSStorage(dataset=root_dataset)
    use_database(again, context)
    assert len(get(again, context, stored[0])) == MIB
    assert again.sweep(context, stored, older_than=timedelta(0)).missing == ()
    for module_data in stored:
        again.delete(context, module_data)
        assert not again.available(context, module_data)


@pytest.fixture
def small_pool(tmp_path: Path) -> Iterator[str]:
    """A pool of its own, on a file."""
    name = "zfsstore-test-full"
    vdev = tmp_path / "vdev"
    with open(vdev, "wb") as file:
        file.truncate(256 * MIB)
    run("zpool", "create", "-f", "-m", str(tmp_path / "pool"), name, str(vdev))
    yield name
    run("zpool", "destroy", "-f", name)


def test_pool_filled_by_another_tool(small_pool: str) -> None:
    zfs("create", f"{small_pool}/objects")
    zfs("create", f"{small_pool}/other")
    store = ZFSStorage(dataset=f"{small_pool}/objects")
    store.volumes.create_volume("acme")
    store.volumes.create_volume("acme/photos")
    context = {"tenant": "acme/photos"}
    stored = [put(store, context, os.urandom(MIB)) for _ in range(3)]
    fill(Path(zfs("get", "-H", "-o", "value", "mountpoint", f"{small_pool}/other")) / "by-hand")
    with pytest.raises(NoSpace):
        put(store, context, b"x")
    with pytest.raises(NoSpace):
        store.volumes.create_volume("late")
    again = ZFSStorage(dataset=f"{small_pool}/objects")
    names = [volume["name"] for volume in again.volumes.list_volumes()]
    assert names == ["acme", "acme/photos"]
    use_database(again, context)
    assert len(get(again, context, stored[0])) == MIB
    for module_data in stored:
        again.delete(context, module_data)
    again.volumes.delete_volume(again.volumes.list_volumes()[1]["uuid"])
    destroy_tree(f"{small_pool}/other")
    again.volumes.create_volume("late")
