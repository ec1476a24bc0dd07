"""Sweeping: only old, unreferenced files of this instance go, and only aside."""

from __future__ import annotations

import os
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from modules.errors import InvalidArgument, InvalidModuleData
from modules.state import BALLAST_BYTES, release_ballast
from tests.storage.helpers import get, object_files, put
from zfsstore import ZFSStorage
from zfsstore.sweep import LiveIds

DAY = timedelta(hours=24)


def make_old(path: Path) -> None:
    two_days_ago = time.time() - 2 * DAY.total_seconds()
    os.utime(path, (two_days_ago, two_days_ago))


def file_of(volume: Path, module_data: str) -> Path:
    object_id = module_data.rpartition(":")[2]
    return volume / ".zfsstore/objects/main" / object_id[:2] / object_id


def test_old_unreferenced_object_moves_to_quarantine_and_can_be_put_back(
    store: ZFSStorage, volume: Path, bucket: dict[str, Any]
) -> None:
    live, lost, young = (put(store, bucket, word) for word in (b"live", b"lost!", b"young"))
    for module_data in (live, lost):
        make_old(file_of(volume, module_data))
    dry = store.sweep(bucket, [live], older_than=DAY)
    assert (dry.unreferenced, dry.unreferenced_bytes, dry.quarantined) == ((lost,), 5, False)
    assert (dry.scanned, dry.too_young, dry.missing) == (3, 1, ())
    assert store.available(bucket, lost)
    report = store.sweep(bucket, [live], older_than=DAY, dry_run=False)
    assert (report.unreferenced, report.quarantined) == ((lost,), True)
    assert not store.available(bucket, lost)
    assert get(store, bucket, live) + get(store, bucket, young) == b"liveyoung"
    (moved,) = (volume / ".zfsstore/quarantine").glob("*/main/*")
    moved.rename(file_of(volume, lost))
    assert get(store, bucket, lost) == b"lost!"


def test_old_temporary_files_go_and_young_ones_stay(
    store: ZFSStorage, volume: Path, bucket: dict[str, Any]
) -> None:
    leaf = volume / ".zfsstore/objects/main/ab"
    for name in ("ab/.tmp-old", "ab/.tmp-young"):
        (leaf.parent / name).write_bytes(b"123")
    beside = volume / ".zfsstore/.tmp-volume-file"
    beside.write_bytes(b"1")
    make_old(leaf / ".tmp-old")
    make_old(beside)
    report = store.sweep(bucket, [], older_than=DAY, dry_run=False)
    assert report.unreferenced == (".zfsstore/.tmp-volume-file", "ab/.tmp-old")
    assert report.too_young == 1
    assert object_files(volume) == ["main/ab/.tmp-young"]
    assert not beside.exists()


def test_live_object_without_a_file_is_reported_missing(
    store: ZFSStorage, bucket: dict[str, Any]
) -> None:
    live = put(store, bucket, b"live")
    absent = ["z1:main:" + "0" * 32, "z1:main:" + "f" * 32]
    report = store.sweep(bucket, [absent[1], live, absent[0]], older_than=DAY)
    assert report.missing == tuple(absent)


@pytest.mark.parametrize("foreign", ["z1:other:" + "a" * 32, "garbage", ""])
def test_live_data_that_is_not_ours_stops_the_sweep(
    store: ZFSStorage, volume: Path, bucket: dict[str, Any], foreign: str
) -> None:
    lost = put(store, bucket, b"x")
    make_old(file_of(volume, lost))
    with pytest.raises(InvalidModuleData):
        store.sweep(bucket, [foreign], older_than=DAY, dry_run=False)
    assert store.available(bucket, lost)


def test_negative_age_is_refused(store: ZFSStorage, bucket: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument):
        store.sweep(bucket, [], older_than=timedelta(seconds=-1))


def test_other_instances_and_foreign_files_are_left_alone(
    store: ZFSStorage, root: Path, volume: Path, bucket: dict[str, Any]
) -> None:
    other = ZFSStorage(directory=str(root), instance="other")
    theirs = put(other, bucket, b"theirs")
    note = volume / ".zfsstore/objects/main/ab/README"
    note.write_text("by hand")
    for path in (note, *(volume / ".zfsstore/objects/other").glob("*/*")):
        make_old(path)
    report = store.sweep(bucket, [], older_than=DAY, dry_run=False)
    assert report.scanned == 0
    assert get(other, bucket, theirs) == b"theirs"
    assert note.exists()


def test_sweep_renews_a_spent_ballast(
    store: ZFSStorage, volume: Path, bucket: dict[str, Any]
) -> None:
    release_ballast(store.state_dir(bucket))
    store.sweep(bucket, [], older_than=DAY, dry_run=False)
    assert (store.state_dir(bucket) / "ballast").stat().st_size == BALLAST_BYTES


def test_live_ids_are_the_same_when_spilled_to_disk() -> None:
    ids = [f"{leaf:02x}{number:030x}" for number in range(100) for leaf in (0, 7, 255)]
    with LiveIds(spill_bytes=160) as spilled, LiveIds() as kept:
        for object_id in ids:
            spilled.add(object_id)
            kept.add(object_id)
        for leaf in ("00", "07", "ff", "01"):
            expected = {bytes.fromhex(i) for i in ids if i.startswith(leaf)}
            assert spilled.of_leaf(leaf) == kept.of_leaf(leaf) == expected
