"""Volumes as directories: what is created is whole, what is removed can be found."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from modules.errors import InvalidArgument, NotSupported, VolumeExists, VolumeNotFound
from modules.state import open_database
from zfsstore import ZFSStorage


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "objects"


@pytest.fixture
def store(root: Path) -> ZFSStorage:
    return ZFSStorage(directory=str(root))


def names(store: ZFSStorage) -> list[str]:
    return [volume["name"] for volume in store.volumes.list_volumes()]


def test_volume_is_complete_when_it_is_created(store: ZFSStorage, root: Path) -> None:
    volume = store.volumes.create_volume("acme")
    own = root / "acme/.zfsstore"
    record = json.loads((own / "volume.json").read_text())
    assert (record["format"], record["uuid"], record["name"]) == (1, volume["uuid"], "acme")
    assert len(record["key_domain"]) == 32
    assert len(os.listdir(own / "objects/main")) == 256
    open_database(store.state_dir({"tenant": "acme"}), "index").close()


def test_tenant_and_buckets_are_listed_in_the_order_of_their_names(store: ZFSStorage) -> None:
    for name in ("b", "a", "a/é", "a/B", "a.b", "a/b"):
        store.volumes.create_volume(name)
    assert names(store) == ["a", "a.b", "a/B", "a/b", "a/é", "b"]


def test_uuid_survives_restart_and_a_rename_behind_our_back(store: ZFSStorage, root: Path) -> None:
    made = store.volumes.create_volume("acme")
    store.volumes.create_volume("acme/photos")
    (root / "acme").rename(root / "beta")
    again = ZFSStorage(directory=str(root))
    found = again.volumes.get_volume(made["uuid"])
    assert found is not None
    assert found["name"] == "beta"
    assert names(again) == ["beta", "beta/photos"]
    assert again.volumes.access_handle(made["uuid"]) == {
        "kind": "directory",
        "path": str(root / "beta"),
    }


def test_long_name_is_kept_in_the_volume(store: ZFSStorage, root: Path) -> None:
    name = "Ein sehr langer Name " * 10
    store.volumes.create_volume(name)
    assert names(ZFSStorage(directory=str(root))) == [name]


def test_deleted_volume_lies_in_the_trash_with_its_data(store: ZFSStorage, root: Path) -> None:
    store.volumes.create_volume("acme")
    uuids = []
    for _ in range(2):
        volume = store.volumes.create_volume("acme/photos")
        uuids.append(volume["uuid"])
        store.volumes.delete_volume(volume["uuid"])
    trashed = sorted((root / ".trash").iterdir())
    assert [path.name.split("-", 1)[1] for path in trashed] == uuids
    note = json.loads((trashed[0] / ".zfsstore/trashed.json").read_text())
    assert note["name"] == "acme/photos"
    assert names(store) == ["acme"]
    with pytest.raises(VolumeNotFound):
        store.volumes.delete_volume(uuids[0])


@pytest.mark.parametrize("given", ["6d0f6f0e-5f6c-4f3e-9f0c-0d3c6ad3f1b2", "garbage", "", "../acme"])
def test_unknown_uuid(store: ZFSStorage, given: str) -> None:
    assert store.volumes.get_volume(given) is None
    with pytest.raises(VolumeNotFound):
        store.volumes.patch_volume(given, 1)
    with pytest.raises(VolumeNotFound):
        store.volumes.access_handle(given)


def test_wrong_sizes_and_exports_are_refused(store: ZFSStorage) -> None:
    for size in (0, -1, True, "1G", 2**63):
        with pytest.raises(InvalidArgument):
            store.volumes.create_volume("acme", size)  # type: ignore[arg-type]  # on purpose
    volume = store.volumes.create_volume("acme")
    with pytest.raises(NotSupported):
        store.volumes.patch_volume(volume["uuid"], None, "/export")


def test_quota_cannot_be_set_below_what_is_used(store: ZFSStorage, tmp_path: Path) -> None:
    volume = store.volumes.create_volume("acme", 100)
    (tmp_path / "x").write_bytes(bytes(50))
    with open(tmp_path / "x", "rb") as stream:
        store.put({"tenant": "acme"}, stream)
    with pytest.raises(InvalidArgument, match="50 bytes are in use"):
        store.volumes.patch_volume(volume["uuid"], 49)
    assert store.volumes.patch_volume(volume["uuid"], 50)["size_bytes"] == 50


def test_foreign_directory_is_no_volume_and_is_not_overwritten(
    store: ZFSStorage, root: Path
) -> None:
    (root / "acme").mkdir()
    (root / "acme/file").write_text("by hand")
    assert names(store) == []
    with pytest.raises(VolumeExists, match="in the way"):
        store.volumes.create_volume("acme")
    assert (root / "acme/file").read_text() == "by hand"


def test_damaged_volume_does_not_hide_the_others(
    store: ZFSStorage, root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("a", "b", "c"):
        store.volumes.create_volume(name)
    record = root / "b/.zfsstore/volume.json"
    record.unlink()
    record.write_text("{")
    assert names(store) == ["a", "c"]
    assert "its volume.json is damaged" in caplog.text


_KILLED = """
import os, signal, sys
from zfsstore import ZFSStorage
store = ZFSStorage(directory=sys.argv[1])
event_name, left = sys.argv[2], int(sys.argv[3])
def kill(event, arguments):
    global left
    if event == event_name:
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(kill)
store.volumes.create_volume("acme")
"""


@pytest.mark.parametrize(
    ("event", "number"),
    [("os.mkdir", 1), ("os.mkdir", 2), ("os.mkdir", 200)]
    + [("os.rename", number) for number in (1, 2, 3)],
)
def test_creation_killed_at_any_step_leaves_nothing_in_the_way(
    store: ZFSStorage, root: Path, event: str, number: int
) -> None:
    argv = [sys.executable, "-c", _KILLED, str(root), event, str(number)]
    assert subprocess.run(argv, check=False).returncode == -9
    assert names(store) == []
    store.volumes.create_volume("acme")
    assert names(store) == ["acme"]
    assert not [name for name in os.listdir(root) if name.startswith(".tmp-")]


def test_of_processes_that_create_one_volume_exactly_one_wins(
    store: ZFSStorage, root: Path
) -> None:
    script = """
import sys
from modules.errors import VolumeExists
from zfsstore import ZFSStorage
try:
    print(ZFSStorage(directory=sys.argv[1]).volumes.create_volume("acme")["uuid"])
except VolumeExists:
    print("exists")
"""
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", script, str(root)], stdout=subprocess.PIPE, text=True
        )
        for _ in range(4)
    ]
    printed = [worker.communicate()[0].strip() for worker in workers]
    assert printed.count("exists") == 3
    (made,) = (line for line in printed if line != "exists")
    assert store.volumes.get_volume(made) is not None


def test_processes_that_start_together_make_one_root(root: Path) -> None:
    script = """
import sys
from zfsstore import ZFSStorage
print(ZFSStorage(directory=sys.argv[1]).statistics({})["volume"]["uuid"])
"""
    workers = [
        subprocess.Popen([sys.executable, "-c", script, str(root)], stdout=subprocess.PIPE)
        for _ in range(4)
    ]
    assert len({worker.communicate()[0] for worker in workers}) == 1
