"""Volumes as datasets: identity, properties, quota, trash, and what others do behind our back."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest

from modules.errors import (
    Busy,
    InvalidArgument,
    Unavailable,
    VolumeExists,
    VolumeNotFound,
)
from modules.state import open_database
from tests.storage.helpers import get, put
from tests.zfs.datasets import named, path_of, value, zfs
from tests.zfs.indexed import zfs_volumes
from zfsstore import ZFSStorage
from zfsstore.volumes.datasets import NAME, TRASHED_NAME, UUID
from zfsstore.zfs.names import encode_component

pytestmark = pytest.mark.zfs

MIB = 1024 * 1024


def dataset_of(root_dataset: str, name: str) -> str:
    return "/".join((root_dataset, *map(encode_component, name.split("/"))))


def test_new_volume_has_its_properties_and_small_records_for_its_index(
    store: ZFSStorage, root_dataset: str
) -> None:
    made = store.volumes.create_volume("props Ä", 64 * MIB)
    dataset = dataset_of(root_dataset, "props Ä")
    expected = {
        UUID: made["uuid"],
        NAME: "props %C3%84",  # ASCII, because `zfs list -j` breaks off at anything else
        "quota": str(64 * MIB),
        "recordsize": str(MIB),
        "setuid": "off",
        "exec": "off",
        "devices": "off",
        "atime": "off",
    }
    assert {name: value(dataset, name) for name in expected} == expected
    assert value(dataset, "xattr") in ("sa", "on")  # since OpenZFS 2.3 the two are one
    index = store.state_dir({"tenant": "props Ä"}) / "index.db"
    assert index.stat().st_blksize == 16 * 1024
    connection = open_database(index.parent, "index")
    tables = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    connection.close()
    assert tables == (0,)
    assert named(store, "props Ä")["size_bytes"] == 64 * MIB


def test_child_does_not_inherit_its_parents_identity(
    store: ZFSStorage, root_dataset: str, bucket: dict[str, Any]
) -> None:
    tenant = bucket["tenant"].split("/")[0]
    zfs("create", f"{root_dataset}/{tenant}/foreign")
    names = [v["name"] for v in store.volumes.list_volumes() if v["name"].startswith(tenant)]
    assert names == [tenant, bucket["tenant"]]
    with pytest.raises(VolumeExists, match="in the way"):
        store.volumes.create_volume(f"{tenant}/foreign")
    with pytest.raises(Unavailable):
        put(store, {"tenant": f"{tenant}/foreign"}, b"x")


def test_uuid_survives_restart_and_a_rename_behind_our_back(
    store: ZFSStorage, root_dataset: str, bucket: dict[str, Any]
) -> None:
    tenant = bucket["tenant"].split("/")[0]
    before = named(store, tenant)
    module_data = put(store, bucket, b"content")
    zfs("rename", f"{root_dataset}/{tenant}", f"{root_dataset}/{tenant}new")
    for instance in (store, ZFSStorage(dataset=root_dataset)):
        found = instance.volumes.get_volume(before["uuid"])
        assert found is not None
        assert found["name"] == f"{tenant}new"
        renamed = {"tenant": f"{tenant}new/bucket"}
        assert get(instance, renamed, module_data) == b"content"
        with pytest.raises(VolumeNotFound):
            get(instance, bucket, module_data)


def test_deleted_volume_goes_to_the_trash_unmounted_and_its_name_is_free(
    store: ZFSStorage, root_dataset: str, bucket: dict[str, Any]
) -> None:
    name = bucket["tenant"]
    put(store, bucket, b"content")
    uuid = named(store, name)["uuid"]
    zfs("snapshot", f"{dataset_of(root_dataset, name)}@before")
    stream = store.get_read_stream(bucket, put(store, bucket, b"open"))
    volumes = zfs_volumes(store)
    with pytest.raises(Busy):
        volumes.delete_volume(uuid)
    stream.close()
    volumes.delete_volume(uuid)
    assert store.volumes.get_volume(uuid) is None
    with pytest.raises(VolumeNotFound):
        put(store, bucket, b"x")
    (trashed,) = (
        line
        for line in zfs("list", "-H", "-r", "-o", "name", f"{root_dataset}/.trash").splitlines()
        if line.endswith(uuid)
    )
    assert value(trashed, TRASHED_NAME) == name
    assert value(trashed, "mounted") == "no"
    assert zfs("list", "-H", "-t", "snapshot", "-o", "name", trashed) == f"{trashed}@before"
    assert store.volumes.create_volume(name)["uuid"] != uuid


def test_quota_is_patched_and_not_below_what_is_used(store: ZFSStorage, root_dataset: str) -> None:
    made = store.volumes.create_volume("patched", 64 * MIB)
    assert store.volumes.patch_volume(made["uuid"], 96 * MIB)["size_bytes"] == 96 * MIB
    put(store, {"tenant": "patched"}, os.urandom(40 * MIB))
    with pytest.raises(InvalidArgument, match="less than current used"):
        store.volumes.patch_volume(made["uuid"], 32 * MIB)
    with pytest.raises(InvalidArgument, match="at least"):
        store.volumes.patch_volume(made["uuid"], MIB)
    assert value(f"{root_dataset}/patched", "quota") == str(96 * MIB)


def test_unmounted_volume_is_unavailable_and_its_parent_is_not_written_to(
    store: ZFSStorage, root_dataset: str, bucket: dict[str, Any]
) -> None:
    module_data = put(store, bucket, b"content")
    path = path_of(store, bucket["tenant"])
    uuid = named(store, bucket["tenant"])["uuid"]
    zfs("unmount", dataset_of(root_dataset, bucket["tenant"]))
    calls = (
        lambda: put(store, bucket, b"x"),
        lambda: get(store, bucket, module_data),
        lambda: store.delete(bucket, module_data),
        lambda: store.state_dir(bucket),
        lambda: store.volumes.create_volume(bucket["tenant"]),
    )
    for call in calls:
        with pytest.raises(Unavailable, match="mount"):
            call()
    assert store.available(bucket, module_data) is False
    assert not os.path.exists(path) or os.listdir(path) == []
    found = store.volumes.get_volume(uuid)
    assert found is not None
    assert found["state"] == "offline"
    zfs("mount", dataset_of(root_dataset, bucket["tenant"]))
    assert get(store, bucket, module_data) == b"content"


def test_copy_of_a_volume_in_a_plain_directory_is_not_taken_for_it(
    store: ZFSStorage, root_dataset: str, bucket: dict[str, Any]
) -> None:
    path = path_of(store, bucket["tenant"])
    zfs("unmount", dataset_of(root_dataset, bucket["tenant"]))
    (path / ".zfsstore/objects/main/00").mkdir(parents=True)
    record = path.parent / ".zfsstore/volume.json"
    (path / ".zfsstore/volume.json").write_bytes(record.read_bytes())
    with pytest.raises(Unavailable):
        put(store, bucket, b"x")


_KILLED = """
import os, signal, sys
from zfsstore import ZFSStorage
from zfsstore.zfs.runner import LocalRunner
local = LocalRunner()
def runner(argv):
    result = local(argv)
    if argv[1] == sys.argv[2] and ".trash" not in argv[-1]:
        os.kill(os.getpid(), signal.SIGKILL)
    return result
ZFSStorage(dataset=sys.argv[1], runner=runner).volumes.create_volume(sys.argv[3], 64 << 20)
"""


@pytest.mark.parametrize("command", ["create", "set"])
def test_creation_killed_after_a_command_is_completed_by_the_next_call(
    store: ZFSStorage, root_dataset: str, command: str
) -> None:
    name = f"killed-{command}"
    argv = [sys.executable, "-c", _KILLED, root_dataset, command, name]
    assert subprocess.run(argv, check=False).returncode == -9
    left = named(store, name)
    assert left["state"] == "restricted"
    with pytest.raises(Unavailable, match="create the volume again"):
        put(store, {"tenant": name}, b"x")
    made = store.volumes.create_volume(name, 96 * MIB)
    assert (made["uuid"], made["size_bytes"]) == (left["uuid"], 96 * MIB)
    assert named(store, name)["state"] == "online"
    assert value(f"{root_dataset}/{name}", "recordsize") == str(MIB)
    assert store.available({"tenant": name}, put(store, {"tenant": name}, b"x"))
    with pytest.raises(VolumeExists):
        store.volumes.create_volume(name)


def test_one_command_lists_all_and_finds_one(root_dataset: str, bucket: dict[str, Any]) -> None:
    from zfsstore.zfs.runner import LocalRunner

    argvs: list[Any] = []

    def runner(argv: Any) -> Any:
        argvs.append(argv)
        return LocalRunner()(argv)

    store = ZFSStorage(dataset=root_dataset, runner=runner)
    uuid = named(store, bucket["tenant"])["uuid"]
    store.volumes.get_volume(uuid)
    assert len(argvs) == 3  # the constructor's, one for the list, one for the volume


def test_put_and_get_start_no_process(root_dataset: str, bucket: dict[str, Any]) -> None:
    script = """
import io, sys
from zfsstore import ZFSStorage
store = ZFSStorage(dataset=sys.argv[1], instance="another")
def refuse(event, arguments):
    if event in ("subprocess.Popen", "os.fork", "os.posix_spawn", "os.exec", "os.system"):
        print("STARTED", event, arguments)
sys.addaudithook(refuse)
for context in ({}, {"tenant": sys.argv[2]}):
    module_data = store.put(context, io.BytesIO(b"content"))
    assert store.get_read_stream(context, module_data).read() == b"content"
    store.available(context, module_data)
    store.statistics(context)
    store.state_dir(context)
    store.delete(context, module_data)
print("done")
"""
    argv = [sys.executable, "-c", script, root_dataset, bucket["tenant"]]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    assert done.stdout == "done\n"
