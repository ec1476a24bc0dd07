"""How objects lie on disk, and what happens when they cannot be stored."""

from __future__ import annotations

import io
import os
import re
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from modules.errors import (
    InvalidArgument,
    InvalidModuleData,
    InvalidName,
    NoSpace,
    ObjectNotFound,
    Unavailable,
    VolumeNotFound,
)
from tests.storage.helpers import Broken, get, object_files, put
from zfsstore import ZFSStorage


def test_object_is_one_read_only_file_named_by_its_id(
    store: ZFSStorage, volume: Path, bucket: dict[str, Any]
) -> None:
    module_data = put(store, bucket, b"content")
    match = re.fullmatch("z1:main:([0-9a-f]{32})", module_data)
    assert match is not None
    path = volume / ".zfsstore/objects/main" / match[1][:2] / match[1]
    assert path.read_bytes() == b"content"
    assert stat.S_IMODE(path.stat().st_mode) & 0o222 == 0


def test_other_users_cannot_look_into_a_volume(store: ZFSStorage, root: Path) -> None:
    for volume in (root, root / "acme"):
        assert stat.S_IMODE((volume / ".zfsstore").stat().st_mode) == 0o700


def test_module_data_stays_valid_when_the_store_moves(tmp_path: Path) -> None:
    module_data = put(ZFSStorage(directory=str(tmp_path / "here")), {}, b"content")
    os.rename(tmp_path / "here", tmp_path / "there")
    assert get(ZFSStorage(directory=str(tmp_path / "there")), {}, module_data) == b"content"


def test_instances_share_volumes_but_not_objects(
    store: ZFSStorage, root: Path, bucket: dict[str, Any]
) -> None:
    other = ZFSStorage(directory=str(root), instance="other")
    module_data = put(store, bucket, b"main's")
    others = put(other, bucket, b"other's")
    assert get(other, bucket, others) == b"other's"
    assert not other.available(bucket, module_data)
    assert not store.available(bucket, others)
    with pytest.raises(InvalidModuleData):
        other.delete(bucket, module_data)
    assert get(store, bucket, module_data) == b"main's"


@pytest.mark.parametrize(
    "forged",
    [
        "",
        "z1:main:",
        "z1:main:../../../../../etc/passwd",
        "z1:main:" + "a" * 31,
        "z1:main:" + "A" * 32,
        "z1:main:" + "a" * 32 + "\n",
        "z2:main:" + "a" * 32,
        "z1:main:" + "/" * 32,
        "z1:ma?n:" + "a" * 32,
    ],
)
def test_forged_module_data_reaches_no_file(store: ZFSStorage, forged: str) -> None:
    assert store.available({}, forged) is False
    for call in (store.get_read_stream, store.delete):
        with pytest.raises(InvalidModuleData):
            call({}, forged)


def test_error_of_the_stream_passes_unchanged(
    store: ZFSStorage, volume: Path, bucket: dict[str, Any]
) -> None:
    for error in (FileNotFoundError("client"), ConnectionResetError("client"), KeyError("x")):
        stream = Broken(error)
        with pytest.raises(type(error)) as caught:
            store.put(bucket, stream)
        assert caught.value is error
        assert stream.reads == 2  # not read again, though a leaf directory could be absent too
    assert object_files(volume) == []


def test_write_error_leaves_nothing(tmp_path: Path) -> None:
    root = tmp_path / "objects"
    script = """
import io, resource, signal, sys
from modules.errors import SubstrateError
from zfsstore import ZFSStorage
store = ZFSStorage(directory=sys.argv[1])
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, 2_000_000))
try:
    store.put({}, io.BytesIO(bytes(5_000_000)))
except SubstrateError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(root)], capture_output=True, text=True, check=True
    )
    assert "cannot put object into the root volume: File too large" in done.stdout
    assert object_files(root) == []


def test_object_larger_than_the_disk_is_refused_unread(
    store: ZFSStorage, bucket: dict[str, Any]
) -> None:
    stream = Broken(AssertionError("read"), blocks=0)
    with pytest.raises(NoSpace, match="do not fit"):
        store.put({**bucket, "content_length": 2**62}, stream)
    assert stream.reads == 0


@pytest.mark.parametrize(
    ("context", "error"),
    [
        ({"tenant": ""}, InvalidName),
        ({"tenant": "a/b/c"}, InvalidName),
        ({"tenant": "a/"}, InvalidName),
        ({"tenant": "a\0b"}, InvalidName),
        ({"tenant": "\ud800"}, InvalidName),
        ({"tenant": 7}, InvalidArgument),
        ({"tenant": "absent"}, VolumeNotFound),
        ({"tenant": ".."}, VolumeNotFound),
        ({"tenant": ".trash"}, VolumeNotFound),
        ({"tenant": "acme/absent"}, VolumeNotFound),
        ({"tenant": "absent/photos"}, VolumeNotFound),
        ({"snapshot": "daily"}, InvalidArgument),
        ({"content_length": "7"}, InvalidArgument),
    ],
)
def test_wrong_context_is_refused(
    store: ZFSStorage, context: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error):
        store.put(context, io.BytesIO(b"x"))


def test_directory_that_is_no_complete_volume_is_never_written_to(
    store: ZFSStorage, volume: Path, bucket: dict[str, Any]
) -> None:
    module_data = put(store, bucket, b"x")
    (volume / ".zfsstore").rename(volume.parent / "aside")
    calls = (
        lambda: put(store, bucket, b"y"),
        lambda: get(store, bucket, module_data),
        lambda: store.delete(bucket, module_data),
        lambda: store.state_dir(bucket),
        lambda: store.statistics(bucket),
    )
    for call in calls:
        with pytest.raises(Unavailable):
            call()
    assert store.available(bucket, module_data) is False
    assert os.listdir(volume) == []


def test_root_that_vanishes_makes_every_volume_unavailable(tmp_path: Path) -> None:
    store = ZFSStorage(directory=str(tmp_path / "objects"))
    (tmp_path / "objects/.zfsstore").rename(tmp_path / "aside")
    for context in ({}, {"tenant": "acme"}, {"tenant": "acme/photos"}):
        with pytest.raises(Unavailable):
            put(store, context, b"y")
    assert os.listdir(tmp_path / "objects") == []


def test_deleted_object_is_not_found_and_deleting_again_is_silent(
    store: ZFSStorage, bucket: dict[str, Any]
) -> None:
    module_data = put(store, bucket, b"x")
    store.delete(bucket, module_data)
    store.delete(bucket, module_data)
    store.delete({"tenant": "absent"}, module_data)
    with pytest.raises(ObjectNotFound):
        store.get_read_stream(bucket, module_data)


def test_object_file_is_a_raw_stream_with_a_descriptor(store: ZFSStorage) -> None:
    content = bytes(range(256)) * 40
    module_data = put(store, {}, content)
    with store.get_read_stream({}, module_data) as stream:
        assert os.fstat(stream.fileno()).st_size == len(content)
        assert stream.seek(-10, os.SEEK_END) == len(content) - 10
        assert stream.read() == content[-10:]
        assert stream.read(1) == b""
        stream.seek(5)
        buffer = bytearray(7)
        assert stream.readinto(buffer) == 7
        assert bytes(buffer) == content[5:12]
        assert stream.tell() == 12
        assert io.BufferedReader(stream).read(3) == content[12:15]
    for call in (stream.read, stream.tell, stream.fileno, lambda: stream.seek(0)):
        with pytest.raises(ValueError, match="closed"):
            call()


def test_statistics_say_which_volume(store: ZFSStorage, bucket: dict[str, Any]) -> None:
    found = store.statistics(bucket)
    (volume,) = (v for v in store.volumes.list_volumes() if v["name"] == bucket["tenant"])
    assert found["volume"]["uuid"] == volume["uuid"]
    capacity = found["capacity"]
    assert capacity["total"] == capacity["free"] + capacity["used"]


def test_put_and_get_start_no_process(tmp_path: Path) -> None:
    script = """
import io, sys
from zfsstore import ZFSStorage
store = ZFSStorage(directory=sys.argv[1])
store.volumes.create_volume("acme", 10_000_000)
def refuse(event, arguments):
    if event in ("subprocess.Popen", "os.fork", "os.posix_spawn", "os.exec", "os.system"):
        print("STARTED", event, arguments)
sys.addaudithook(refuse)
for context in ({}, {"tenant": "acme"}):
    module_data = store.put(context, io.BytesIO(b"content"))
    assert store.get_read_stream(context, module_data).read() == b"content"
    store.available(context, module_data)
    store.statistics(context)
    store.state_dir(context)
    store.delete(context, module_data)
print("done")
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "objects")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "done\n"


def test_descriptors_do_not_leak_when_a_put_fails(
    store: ZFSStorage, bucket: dict[str, Any]
) -> None:
    before = set(os.listdir("/proc/self/fd"))
    for _ in range(20):
        with pytest.raises(KeyError):
            store.put(bucket, Broken(KeyError("x")))
    assert set(os.listdir("/proc/self/fd")) == before
