"""Every command of every call, in order: the reference's, and what identity adds to them.

A call that is given a uuid first lists that volume, to see that it still has the uuid.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.backend.scripted import (
    C1,
    GUID,
    LIST_POOL,
    V1,
    Script,
    knowing,
    list_one,
    list_snapshot,
    list_snapshots,
    populated,
    row,
)
from zfsstore import ZfsBackend
from zfsstore.volumes.common import snapshot_uuid

S1 = snapshot_uuid(GUID)
IDENTITY = list_one("p/v1")
REFRESH = ["exportfs", "-r"]
MOUNTPOINT = ["zfs", "get", "-H", "-o", "value", "mountpoint", "p/v1"]
DESTROY = ["zfs", "destroy", "-r", "-f", "p/v1"]
VOLUME = {
    "uuid": V1,
    "name": "v1",
    "size_bytes": 2147483648,
    "state": "online",
    "style": "flexvol",
    "vol_type": "rw",
}
CLONE = VOLUME | {
    "uuid": C1,
    "name": "c1",
    "size_bytes": None,
    "clone": {"parent_volume": "v1", "parent_snapshot": "s1"},
}
SNAPSHOT = {
    "uuid": S1,
    "name": "s1",
    "size_consumed": 1024,
    "create_time": "2023-11-14T22:13:20Z",
}
OPTIONS = f"rw,sync,no_subtree_check,root_squash,crossmnt,mountpoint,fsid={V1}"


@pytest.fixture
def script() -> Script:
    return populated()


@pytest.fixture
def backend(script: Script) -> ZfsBackend:
    return knowing(script)


@pytest.fixture
def exporting(script: Script, tmp_path: Path) -> ZfsBackend:
    """A backend with clients, an owner and a mode."""
    return knowing(
        script,
        exports="files",
        exports_dir=str(tmp_path),
        nfs_clients=["10.0.0.0/8", "h1"],
        dataset_owner="1000:1000",
        dataset_mode="0750",
    )


def test_construction_and_capabilities_run_nothing(script: Script) -> None:
    backend = ZfsBackend(runner=script)
    assert {"snapshots": True, "clones": True, "replication": False} == backend.capabilities()
    assert [] == script.taken()


def test_every_argument_may_be_none() -> None:
    ZfsBackend(None, None, None, None, None, None, None, None)


def test_create_volume(script: Script, backend: ZfsBackend) -> None:
    made = backend.create_volume("new", 1073741824)
    ((*start, own, dataset),) = script.taken()
    assert ["zfs", "create", "-o", "mountpoint=/srv/new", "-o", "quota=1073741824", "-o"] == start
    assert f"zfsstore:uuid={made['uuid']}" == own
    assert "p/new" == dataset
    assert VOLUME | {"uuid": made["uuid"], "name": "new", "size_bytes": 1073741824} == made


def test_create_volume_without_a_size(script: Script, backend: ZfsBackend) -> None:
    made = backend.create_volume("new")
    own = f"zfsstore:uuid={made['uuid']}"
    assert [["zfs", "create", "-o", "mountpoint=/srv/new", "-o", own, "p/new"]] == script.taken()
    assert made["size_bytes"] is None


def test_create_volume_is_published_when_configured(
    script: Script, exporting: ZfsBackend, tmp_path: Path
) -> None:
    made = exporting.create_volume("new")
    _create, *rest = script.taken()
    assert [REFRESH, ["chown", "1000:1000", "/srv/new"], ["chmod", "0750", "/srv/new"]] == rest
    options = OPTIONS.replace(V1, made["uuid"])
    lines = f"/srv/new 10.0.0.0/8({options})\n/srv/new h1({options})\n"
    assert lines == (tmp_path / "trident_new.exports").read_text()


def test_list_volumes(script: Script, backend: ZfsBackend) -> None:
    assert [CLONE, VOLUME] == backend.list_volumes()
    assert [LIST_POOL] == script.taken()


def test_get_volume(script: Script, backend: ZfsBackend) -> None:
    assert VOLUME == backend.get_volume(V1)
    assert [IDENTITY] == script.taken()


def test_get_volume_that_this_process_never_saw(script: Script) -> None:
    assert VOLUME == ZfsBackend(pool="p", runner=script).get_volume(V1)
    assert [LIST_POOL] == script.taken()


def test_delete_volume(script: Script, exporting: ZfsBackend, tmp_path: Path) -> None:
    exporting.patch_volume(V1, junction_path="/v1")
    script.taken()
    exporting.delete_volume(V1)
    assert [IDENTITY, REFRESH, DESTROY] == script.taken()
    assert [] == list(tmp_path.iterdir())


def test_delete_volume_without_clients(script: Script, tmp_path: Path) -> None:
    knowing(script, exports="files", exports_dir=str(tmp_path)).delete_volume(V1)
    assert [IDENTITY, REFRESH, DESTROY] == script.taken()


def test_patch_nothing(script: Script, backend: ZfsBackend) -> None:
    assert VOLUME == backend.patch_volume(V1)
    assert [IDENTITY, IDENTITY] == script.taken()


def test_patch_size(script: Script, exporting: ZfsBackend) -> None:
    assert VOLUME == exporting.patch_volume(V1, 3221225472)
    quota = ["zfs", "set", "quota=3221225472", "p/v1"]
    assert [IDENTITY, quota, IDENTITY] == script.taken()


def test_patch_to_the_same_path_sets_no_mountpoint(
    script: Script, exporting: ZfsBackend, tmp_path: Path
) -> None:
    exporting.patch_volume(V1, junction_path="/v1", export_policy="default")
    own = ["chown", "1000:1000", "/srv/v1"]
    mode = ["chmod", "0750", "/srv/v1"]
    assert [IDENTITY, MOUNTPOINT, REFRESH, own, mode, IDENTITY] == script.taken()
    lines = f"/srv/v1 10.0.0.0/8({OPTIONS})\n/srv/v1 h1({OPTIONS})\n"
    assert lines == (tmp_path / "trident_v1.exports").read_text()


def test_patch_everything(script: Script, exporting: ZfsBackend, tmp_path: Path) -> None:
    exporting.patch_volume(V1, 3221225472, "/x/y", "default")
    assert [
        IDENTITY,
        ["zfs", "set", "quota=3221225472", "p/v1"],
        MOUNTPOINT,
        ["zfs", "set", "mountpoint=/srv/x/y", "p/v1"],
        REFRESH,
        ["chown", "1000:1000", "/srv/x/y"],
        ["chmod", "0750", "/srv/x/y"],
        IDENTITY,
    ] == script.taken()
    assert (tmp_path / "trident_v1.exports").read_text().startswith("/srv/x/y 10.0.0.0/8(")


def test_access_handle(script: Script, backend: ZfsBackend) -> None:
    handle = {"kind": "nfs_export", "server": "127.0.0.1", "path": "/srv/v1"}
    assert handle == backend.access_handle(V1)
    assert [IDENTITY, MOUNTPOINT] == script.taken()


def test_access_handle_at_another_address(script: Script) -> None:
    assert "10.0.0.1" == knowing(script, data_lif="10.0.0.1").access_handle(V1)["server"]


def test_create_snapshot(script: Script, backend: ZfsBackend) -> None:
    assert SNAPSHOT == backend.create_snapshot(V1, "s1")
    take = ["zfs", "snapshot", "p/v1@s1"]
    assert [IDENTITY, take, list_snapshot("p/v1@s1")] == script.taken()


def test_list_snapshots(script: Script, backend: ZfsBackend) -> None:
    assert [SNAPSHOT] == backend.list_snapshots(V1)
    assert [IDENTITY, list_snapshots("p/v1")] == script.taken()


def test_get_snapshot(script: Script, backend: ZfsBackend) -> None:
    assert SNAPSHOT == backend.get_snapshot(V1, S1)
    assert backend.get_snapshot(V1, snapshot_uuid("1")) is None
    assert [IDENTITY, list_snapshots("p/v1")] * 2 == script.taken()


def test_delete_snapshot(script: Script, backend: ZfsBackend) -> None:
    backend.delete_snapshot(V1, S1)
    destroy = ["zfs", "destroy", "p/v1@s1"]
    assert [IDENTITY, list_snapshots("p/v1"), destroy] == script.taken()


def test_create_clone(script: Script, backend: ZfsBackend) -> None:
    made = backend.create_clone(V1, S1, "c2")
    assert CLONE | {"uuid": made["uuid"], "name": "c2"} == made
    *identity, clone = script.taken()
    assert [IDENTITY, list_snapshots("p/v1")] == identity
    own = f"zfsstore:uuid={made['uuid']}"
    options = ["-o", "mountpoint=/srv/c2", "-o", own]
    assert ["zfs", "clone", *options, "p/v1@s1", "p/c2"] == clone


def test_create_clone_is_published_when_configured(
    script: Script, exporting: ZfsBackend, tmp_path: Path
) -> None:
    exporting.create_clone(V1, S1, "c2")
    own, mode = ["chown", "1000:1000", "/srv/c2"], ["chmod", "0750", "/srv/c2"]
    assert [REFRESH, own, mode] == script.taken()[3:]
    assert (tmp_path / "trident_c2.exports").exists()


def test_promote_and_rollback(script: Script, backend: ZfsBackend) -> None:
    backend.promote_volume(C1)
    clone = list_one("p/c1")
    assert [clone, ["zfs", "promote", "p/c1"], clone] == script.taken()
    backend.rollback_volume(V1, S1, destroy_newer=True)
    back = ["zfs", "rollback", "-r", "p/v1@s1"]
    assert [IDENTITY, list_snapshots("p/v1"), back, IDENTITY] == script.taken()


def test_rename_moves_the_mountpoint_and_keeps_the_export(
    script: Script, exporting: ZfsBackend, tmp_path: Path
) -> None:
    exporting.patch_volume(V1, junction_path="/v1")
    script.say("list", "p/v2", stdout=row("p/v2", V1))
    script.taken()
    assert V1 == exporting.rename_volume(V1, "v2")["uuid"]
    assert [
        IDENTITY,
        REFRESH,
        ["zfs", "rename", "-u", "p/v1", "p/v2"],
        ["zfs", "set", "mountpoint=/srv/v2", "p/v2"],
        REFRESH,
        list_one("p/v2"),
    ] == script.taken()
    (file,) = tmp_path.iterdir()
    assert "trident_v2.exports" == file.name
    assert file.read_text().startswith(f"/srv/v2 10.0.0.0/8({OPTIONS})")


def test_rename_in_place_neither_mounts_nor_exports(
    script: Script, exporting: ZfsBackend, tmp_path: Path
) -> None:
    exporting.patch_volume(V1, junction_path="/v1")
    before = (tmp_path / "trident_v1.exports").read_bytes()
    script.say("list", "p/v2", stdout=row("p/v2", V1, mountpoint="/srv/v1"))
    script.taken()
    exporting.rename_volume(V1, "v2", keep_path=True)
    rename = ["zfs", "rename", "-u", "p/v1", "p/v2"]
    assert [IDENTITY, rename, list_one("p/v2"), list_one("p/v2")] == script.taken()
    assert before == (tmp_path / "trident_v2.exports").read_bytes()
    assert 1 == len(list(tmp_path.iterdir()))
