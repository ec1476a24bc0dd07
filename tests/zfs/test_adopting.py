"""Files on ZFS become objects that share their blocks."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.zfs.datasets import destroy_tree, value, zfs
from tests.zfs.test_copy import MIB, saved_bytes
from tools.powercut.stores import Site
from zfsstore import ZFSStorage
from zfsstore.host.catalog.records import Tenant
from zfsstore.host.objects import ObjectService

pytestmark = pytest.mark.zfs

TIME_NS = 1_500_000_000_000_000_000


@pytest.fixture
def service(tmp_path: Path, store: ZFSStorage) -> Iterator[ObjectService]:
    with Site(str(tmp_path / "names.db")).service(store) as opened:
        yield opened


@pytest.fixture
def source(pool: str) -> Iterator[Path]:
    dataset = f"{pool}/source-{secrets.token_hex(4)}"
    zfs("create", dataset)
    yield Path(value(dataset, "mountpoint"))
    destroy_tree(dataset)


def test_adopted_files_share_their_blocks(
    service: ObjectService, pool: str, bucket: dict[str, Any], source: Path
) -> None:
    tenant = Tenant(bucket["tenant"].partition("/")[0], "zfs")
    contents = {"films/big.mp4": os.urandom(8 * MIB), "films/small.txt": b"small", "odd": b""}
    for name, data in contents.items():
        (source / name).parent.mkdir(exist_ok=True)
        (source / name).write_bytes(data)
        os.utime(source / name, ns=(TIME_NS, TIME_NS))
    before = saved_bytes(pool)  # which also writes the source to disk: only then it can be cloned
    report = service.adoption.adopt(tenant, "bucket", source)
    after = saved_bytes(pool)
    assert (3, 8 * MIB + 5) == (report.adopted, report.adopted_bytes)
    if before is not None and after is not None:
        assert after - before >= 8 * MIB
    for key, data in contents.items():
        version, stream = service.open_object(tenant, "bucket", key)
        with stream:
            assert data == stream.read()
        assert TIME_NS // 10**9 == version.modified_at.timestamp()
    assert "video/mp4" == service.head_object(tenant, "bucket", "films/big.mp4").content_type
    assert 3 == service.adoption.adopt(tenant, "bucket", source).unchanged
    swept = service.sweep(tenant, "bucket", older_than=timedelta(0))
    assert ((), ()) == (swept.unreferenced, swept.missing)
