"""Copying and joining objects in directories: links, bytes, quotas, faults."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from modules import fences
from modules.errors import (
    Busy,
    InvalidArgument,
    InvalidModuleData,
    NoSpace,
    ObjectNotFound,
    QuotaExceeded,
    VolumeNotFound,
)
from modules.extensions import SupportsCopy
from tests.storage.helpers import get, object_files, put
from zfsstore import ZFSStorage, copying

CONTENT = bytes(range(256)) * 1000


@pytest.fixture
def no_links(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system without hard links, or a file with too many."""
    monkeypatch.setattr(copying.Copier, "_link", lambda *_: False)


def nlink(volume: Path, module_data: str) -> int:
    object_id = module_data.rpartition(":")[2]
    return (volume / ".zfsstore/objects/main" / object_id[:2] / object_id).stat().st_nlink


def test_store_offers_copies(store: ZFSStorage) -> None:
    assert isinstance(store, SupportsCopy)


def test_copy_in_a_directory_shares_the_file_and_outlives_its_source(
    store: ZFSStorage, bucket: dict[str, Any], volume: Path
) -> None:
    source = put(store, bucket, CONTENT)
    made = store.copy(bucket, source, bucket)
    assert 2 == nlink(volume, made) == nlink(volume, source)
    store.delete(bucket, source)
    assert CONTENT == get(store, bucket, made)
    assert 1 == len(object_files(volume))


def test_copy_to_another_tenant(store: ZFSStorage, bucket: dict[str, Any]) -> None:
    store.volumes.create_volume("other")
    source = put(store, bucket, CONTENT)
    made = store.copy(bucket, source, {"tenant": "other"})
    assert CONTENT == get(store, {"tenant": "other"}, made)
    assert not store.available(bucket, made)


@pytest.mark.usefixtures("no_links")
def test_copy_without_links_moves_the_bytes(
    store: ZFSStorage, bucket: dict[str, Any], volume: Path
) -> None:
    source = put(store, bucket, CONTENT)
    made = store.copy(bucket, source, bucket)
    assert 1 == nlink(volume, made)
    assert CONTENT == get(store, bucket, made)


@pytest.mark.parametrize("code", [errno.EXDEV, errno.ENOSYS, None])
@pytest.mark.usefixtures("no_links")
def test_copy_without_ranges_reads_and_writes(
    store: ZFSStorage,
    bucket: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    code: int | None,
) -> None:
    def refuse(*_: object) -> int:
        if code is None:
            return 0  # as some file systems do
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "copy_file_range", refuse)
    parts = [put(store, bucket, CONTENT), put(store, bucket, b""), put(store, bucket, b"end")]
    made = store.compose(bucket, parts)
    assert CONTENT + b"end" == get(store, bucket, made)


def test_compose_joins_in_order(store: ZFSStorage, bucket: dict[str, Any]) -> None:
    first, second = put(store, bucket, CONTENT), put(store, bucket, b"second")
    made = store.compose(bucket, iter([second, first, second]))
    assert b"second" + CONTENT + b"second" == get(store, bucket, made)
    assert b"" == get(store, bucket, store.compose(bucket, []))


def test_copy_is_as_young_as_an_upload_for_a_sweep(
    store: ZFSStorage, bucket: dict[str, Any], volume: Path
) -> None:
    source = put(store, bucket, CONTENT)
    for name in object_files(volume):
        os.utime(volume / ".zfsstore/objects" / name, (1, 1))
    made = store.copy(bucket, source, bucket)
    report = store.sweep(bucket, [source], older_than=timedelta(hours=1), dry_run=False)
    assert ((), 1) == (report.unreferenced, report.too_young)
    assert CONTENT == get(store, bucket, made)


def test_copies_count_to_the_quota(store: ZFSStorage) -> None:
    store.volumes.create_volume("limited", 1_000_000)
    context = {"tenant": "limited"}
    source = put(store, context, CONTENT)  # 256,000 bytes
    made = [store.copy(context, source, context) for _ in range(2)]
    with pytest.raises(QuotaExceeded):
        store.copy(context, source, context)
    with pytest.raises(QuotaExceeded):
        store.compose(context, [source, source])
    assert 3 * len(CONTENT) == store.statistics(context)["capacity"]["used"]
    for module_data in (source, *made):
        store.delete(context, module_data)
    assert 0 == store.statistics(context)["capacity"]["used"]


@pytest.mark.usefixtures("no_links")
def test_failed_copy_leaves_nothing(
    store: ZFSStorage,
    bucket: dict[str, Any],
    volume: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    parts = [put(store, bucket, CONTENT) for _ in range(2)]
    before = object_files(volume)
    calls = iter([len(CONTENT)])

    def once(source: int, target: int, count: int) -> int:
        if next(calls, None) is None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        data = os.read(source, count)
        return os.write(target, data)

    monkeypatch.setattr(os, "copy_file_range", once)
    with pytest.raises(NoSpace):
        store.compose(bucket, parts)
    assert before == object_files(volume)


def test_what_cannot_be_copied_is_refused(store: ZFSStorage, bucket: dict[str, Any]) -> None:
    source, absent = put(store, bucket, CONTENT), put(store, bucket, b"")
    store.delete(bucket, absent)
    with pytest.raises(ObjectNotFound):
        store.copy(bucket, absent, bucket)
    with pytest.raises(ObjectNotFound):
        store.compose(bucket, [source, absent])
    for forged in ("", "z1:main:../../etc/passwd", "z1:other:" + "0" * 32):
        with pytest.raises(InvalidModuleData):
            store.copy(bucket, forged, bucket)
    with pytest.raises(VolumeNotFound):
        store.copy(bucket, source, {"tenant": "acme/absent"})
    with pytest.raises(VolumeNotFound):
        store.copy({"tenant": "acme/absent"}, source, bucket)
    with pytest.raises(InvalidArgument, match="cannot be changed"):
        store.copy(bucket, source, {**bucket, "snapshot": "monday"})


def test_copy_waits_for_nobody_who_needs_a_volume_for_himself(
    store: ZFSStorage, bucket: dict[str, Any]
) -> None:
    store.volumes.create_volume("quiet")
    source = put(store, bucket, CONTENT)
    for context in (bucket, {"tenant": "quiet"}):
        with fences.exclusive([store.fence(context)]), pytest.raises(Busy):
            store.copy(bucket, source, {"tenant": "quiet"})
    assert CONTENT == get(
        store, {"tenant": "quiet"}, store.copy(bucket, source, {"tenant": "quiet"})
    )


@pytest.fixture
def descriptors() -> Iterator[None]:
    before = len(os.listdir("/proc/self/fd"))
    yield
    assert before == len(os.listdir("/proc/self/fd"))


@pytest.mark.usefixtures("descriptors")
def test_compose_of_many_parts_opens_one_at_a_time(
    store: ZFSStorage, bucket: dict[str, Any]
) -> None:
    part = put(store, bucket, b"0123456789")
    made = store.compose(bucket, [part] * 3000)
    assert 30_000 == len(get(store, bucket, made))


def test_identity_of_a_volume_stays_with_it(store: ZFSStorage, bucket: dict[str, Any]) -> None:
    found = store.identity(bucket)
    assert found == store.identity({**bucket, "snapshot": "monday"})
    assert found.volume_id == store.statistics(bucket)["volume"]["uuid"]
    other = store.identity({"tenant": "acme"})
    assert found.key_domain != other.key_domain
    assert 32 == len(found.key_domain)
    with pytest.raises(VolumeNotFound):
        store.identity({"tenant": "acme/absent"})
