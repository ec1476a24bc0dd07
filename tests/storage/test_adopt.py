"""Files taken in from elsewhere: whole, with their times, or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from modules.errors import Conflict, InvalidArgument, NotSupported, QuotaExceeded
from tests.storage.helpers import get, object_files
from zfsstore import ZFSStorage, adopting

Bucket = dict[str, Any]
TIME_NS = 1_000_000_000_123_456_789


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source"
    path.write_bytes(os.urandom(3_000_000))
    os.utime(path, ns=(TIME_NS, TIME_NS))
    return path


@contextmanager
def opened(path: Path) -> Iterator[int]:
    fd = os.open(path, os.O_RDONLY)
    try:
        yield fd
    finally:
        os.close(fd)


@pytest.mark.parametrize("link", [False, True])
def test_a_file_becomes_an_object(
    store: ZFSStorage, bucket: Bucket, volume: Path, source: Path, link: bool
) -> None:
    with opened(source) as fd:
        os.read(fd, 10)
        module_data = store.adopt(bucket, fd, link=link)
    assert source.read_bytes() == get(store, bucket, module_data)
    (name,) = object_files(volume)
    held = (volume / ".zfsstore/objects" / name).stat()
    assert (0o100444, TIME_NS) == (held.st_mode, held.st_mtime_ns)
    assert link == source.samefile(volume / ".zfsstore/objects" / name)
    assert (0o444 if link else 0o644) == source.stat().st_mode & 0o777
    store.delete(bucket, module_data)
    assert 3_000_000 == source.stat().st_size


def test_an_empty_file(store: ZFSStorage, bucket: Bucket, tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    with opened(tmp_path / "empty") as fd:
        assert b"" == get(store, bucket, store.adopt(bucket, fd))


def test_what_the_kernel_cannot_copy_is_read(store: ZFSStorage, bucket: Bucket) -> None:
    shorter = Path("/sys/kernel/uevent_seqnum")  # than the 4096 bytes that it claims
    with opened(shorter) as fd, pytest.raises(Conflict, match="changed while"):
        store.adopt(bucket, fd)


def test_a_file_that_changes_is_refused(
    store: ZFSStorage,
    bucket: Bucket,
    volume: Path,
    source: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def copy_and_touch(*args: Any, **kwargs: Any) -> int:
        os.utime(source)
        return 3_000_000

    monkeypatch.setattr(adopting, "copy_bytes", copy_and_touch)
    with opened(source) as fd, pytest.raises(Conflict, match="changed while"):
        store.adopt(bucket, fd)
    assert [] == object_files(volume)


def test_only_regular_files(store: ZFSStorage, bucket: Bucket, tmp_path: Path) -> None:
    with opened(tmp_path) as fd, pytest.raises(InvalidArgument, match="regular"):
        store.adopt(bucket, fd)


@pytest.mark.parametrize("link", [False, True])
def test_a_quota_holds(store: ZFSStorage, root: Path, source: Path, link: bool) -> None:
    name = f"acme/small-{int(link)}"
    store.volumes.create_volume(name, 4_000_000)
    with opened(source) as fd:
        store.adopt({"tenant": name}, fd, link=link)
        with pytest.raises(QuotaExceeded):
            store.adopt({"tenant": name}, fd, link=link)
    assert 1 == len(object_files(root / name))


def test_no_link_to_another_file_system(store: ZFSStorage, bucket: Bucket, volume: Path) -> None:
    elsewhere = Path("/dev/shm")
    if not elsewhere.is_dir() or elsewhere.stat().st_dev == volume.stat().st_dev:
        pytest.skip("there is no other file system")
    path = elsewhere / f"zfsstore-test-{os.getpid()}"
    path.write_bytes(b"elsewhere")
    try:
        with opened(path) as fd:
            with pytest.raises(NotSupported, match="--link"):
                store.adopt(bucket, fd, link=True)
            assert 0o644 == path.stat().st_mode & 0o777
            assert [] == object_files(volume)
            assert b"elsewhere" == get(store, bucket, store.adopt(bucket, fd))
    finally:
        path.unlink()
