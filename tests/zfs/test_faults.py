"""A disk that returns errors, processes that are killed, and how they see each other's fences."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from modules.errors import IntegrityError
from tests.modules import test_fences
from tests.storage.helpers import get, object_files, put
from tests.zfs.datasets import path_of, run, value
from zfsstore import ZFSStorage

pytestmark = pytest.mark.zfs


@pytest.fixture
def _no_injections() -> Iterator[None]:
    yield
    run("zinject", "-c", "all")


@pytest.mark.usefixtures("_no_injections")
def test_checksum_error_is_an_integrity_error_and_other_objects_are_fine(
    store: ZFSStorage, pool: str, bucket: dict[str, Any]
) -> None:
    damaged, sound = (put(store, bucket, os.urandom(200_000)) for _ in range(2))
    object_id = damaged.rpartition(":")[2]
    volume = path_of(store, bucket["tenant"])
    path = volume / ".zfsstore/objects/main" / object_id[:2] / object_id
    run("zpool", "sync", pool)
    run("zinject", "-t", "data", "-e", "checksum", "-a", "-m", str(path))
    with store.get_read_stream(bucket, damaged) as stream:
        with pytest.raises(IntegrityError, match="zpool status"):
            stream.read()
        with pytest.raises(IntegrityError):
            stream.readinto(bytearray(10))
    assert len(get(store, bucket, sound)) == 200_000
    put(store, bucket, b"goes on")


_PUTS = """
import io, os, sys
from zfsstore import ZFSStorage
store = ZFSStorage(dataset=sys.argv[1])
class Stuck:
    blocks = [b"begun"]
    def read(self, size):
        if self.blocks:
            return self.blocks.pop()
        os.write(1, b"stuck\\n")
        sys.stdin.read()
for number in range(20):
    module_data = store.put({"tenant": sys.argv[2]}, io.BytesIO(b"content %d" % number))
    os.write(1, module_data.encode() + b"\\n")
store.put({"tenant": sys.argv[2]}, Stuck())
"""


def test_kill_9_in_the_middle_of_a_put(
    store: ZFSStorage, root_dataset: str, bucket: dict[str, Any]
) -> None:
    worker = subprocess.Popen(
        [sys.executable, "-c", _PUTS, root_dataset, bucket["tenant"]],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert worker.stdout is not None
    acknowledged = [worker.stdout.readline().strip() for _ in range(20)]
    assert worker.stdout.readline() == "stuck\n"
    worker.kill()
    worker.communicate()
    for number, module_data in enumerate(acknowledged):
        assert get(store, bucket, module_data) == b"content %d" % number
    volume: Path = path_of(store, bucket["tenant"])
    assert len(object_files(volume)) == 21
    report = store.sweep(bucket, acknowledged, older_than=timedelta(0), dry_run=False)
    assert len(report.unreferenced) == 1
    assert report.missing == ()
    assert len(object_files(volume)) == 20


def test_a_fence_is_seen_through_mapped_memory(root_dataset: str) -> None:
    """What one process writes into the file another sees where it has mapped it, on ZFS, too."""
    mountpoint = Path(value(root_dataset, "mountpoint"))
    test_fences.test_holders_in_other_processes_drain(mountpoint / "fence")
    test_fences.test_who_waits_drains_the_holders(mountpoint / "other fence")
