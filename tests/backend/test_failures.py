"""What a call leaves behind when a command fails."""

from __future__ import annotations

from pathlib import Path

import pytest

from modules.errors import (
    Busy,
    Conflict,
    HasDependents,
    InvalidArgument,
    InvalidName,
    SnapshotExists,
    SnapshotNotFound,
    StorageError,
    VolumeExists,
    VolumeNotFound,
)
from tests.backend.scripted import GUID, V1, Script, knowing, list_one, populated, row
from zfsstore import ZfsBackend
from zfsstore.backend import NessieError
from zfsstore.volumes.common import snapshot_uuid

S1 = snapshot_uuid(GUID)
ABSENT = "44444444-4444-4444-8444-444444444444"
FLUSH = ["exportfs", "-f"]
DESTROY = ["zfs", "destroy", "-r", "-f", "p/v1"]
BUSY = "cannot unmount '/srv/v1': pool or dataset is busy\n"


@pytest.fixture
def script() -> Script:
    return populated()


@pytest.fixture
def exporting(script: Script, tmp_path: Path) -> ZfsBackend:
    """A backend whose volume v1 is exported."""
    backend = knowing(
        script,
        exports="files",
        exports_dir=str(tmp_path),
        nfs_clients=["h1"],
        dataset_owner="0:0",
        max_destroy_retries=2,
    )
    backend.patch_volume(V1, junction_path="/v1")
    script.taken()
    return backend


def test_one_root_of_all_errors() -> None:
    assert NessieError is StorageError


def test_existing_volume(script: Script) -> None:
    script.fail("create", stderr="cannot create 'p/v1': dataset already exists\n")
    with pytest.raises(VolumeExists):
        knowing(script).create_volume("v1")


def test_existing_clone(script: Script) -> None:
    script.fail("clone", stderr="cannot create 'p/v1': dataset already exists\n")
    with pytest.raises(VolumeExists):
        knowing(script).create_clone(V1, S1, "v1")


def test_existing_snapshot(script: Script) -> None:
    script.fail("snapshot", stderr="cannot create snapshot 'p/v1@s1': dataset already exists\n")
    with pytest.raises(SnapshotExists):
        knowing(script).create_snapshot(V1, "s1")


@pytest.mark.parametrize("call", ["delete_snapshot", "create_clone"])
def test_unknown_snapshot(script: Script, call: str) -> None:
    arguments = (V1, ABSENT, "c2") if call == "create_clone" else (V1, ABSENT)
    with pytest.raises(SnapshotNotFound):
        getattr(knowing(script), call)(*arguments)


def test_a_snapshot_with_a_clone_stays(script: Script) -> None:
    stderr = "cannot destroy 'p/v1@s1': snapshot has dependent clones\nuse '-R' to destroy\n"
    script.fail("destroy", stderr=stderr)
    with pytest.raises(HasDependents):
        knowing(script).delete_snapshot(V1, S1)


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", ".trash", "-r", "a/b", "a b", "a\n", "a@b", "a#b", "a:b", "é", "a" * 260, None],
)
def test_names_are_checked_before_any_command(script: Script, name: str) -> None:
    backend = knowing(script)
    for call in (
        lambda: backend.create_volume(name),
        lambda: backend.create_clone(V1, S1, name),
        lambda: backend.rename_volume(V1, name),
    ):
        with pytest.raises(InvalidName):
            call()
    assert [] == script.taken()


@pytest.mark.parametrize("name", ["", ".", "a@b", "a/b", "a\n", "a" * 260, None])
def test_snapshot_names_are_checked_before_the_snapshot(script: Script, name: str) -> None:
    with pytest.raises(InvalidName):
        knowing(script).create_snapshot(V1, name)
    assert ["zfs", "snapshot"] not in [argv[:2] for argv in script.taken()]


@pytest.mark.parametrize("size", [0, -1, 2**63, "1G", 1.5, True])
def test_sizes_are_checked_before_any_command(script: Script, size: int) -> None:
    backend = knowing(script)
    with pytest.raises(InvalidArgument):
        backend.create_volume("new", size)
    with pytest.raises(InvalidArgument):
        backend.patch_volume(V1, size)
    assert [] == script.taken()


@pytest.mark.parametrize(
    "path", ["x", "", "/", "/../etc", "/a/../b", "/a\n/etc", "/a b", "/a(b", "//", "/a/"]
)
def test_a_wrong_junction_path_runs_nothing(script: Script, path: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        knowing(script).patch_volume(V1, 1024, path)
    assert "junction_path" == caught.value.field
    assert [] == script.taken()


def test_a_missing_volume_wins_over_a_wrong_junction_path(script: Script) -> None:
    with pytest.raises(VolumeNotFound):
        knowing(script).patch_volume(ABSENT, None, "wrong")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("pool", "-x"),
        ("pool", "p/../q"),
        ("data_lif", "a b"),
        ("data_lif", "@group"),
        ("nfs_clients", ["a b"]),
        ("dataset_owner", "-R"),
        ("dataset_owner", "a b"),
        ("dataset_owner", "a:b:c"),
        ("dataset_mode", "u+s"),
        ("dataset_mode", "-R"),
        ("srv_root", "srv"),
        ("srv_root", "/srv/../etc"),
        ("export_options", ["fsid=0"]),
        ("exports", "smb"),
        ("retry_base_s", -1),
    ],
)
def test_arguments_are_checked_at_construction(field: str, value: object) -> None:
    with pytest.raises(InvalidArgument) as caught:
        ZfsBackend(**{field: value})  # type: ignore[arg-type]
    assert field == caught.value.field


def test_a_volume_that_cannot_be_published_is_destroyed_again(
    script: Script, exporting: ZfsBackend, tmp_path: Path
) -> None:
    script.fail("chown", stderr="chown: invalid user: '0:0'\n")
    made: list[str] = []

    def remember() -> None:
        ((*_create, own, _dataset),) = (a for a in script.argvs if a[:2] == ["zfs", "create"])
        made.append(own.removeprefix("zfsstore:uuid="))
        script.say("list", "p/new", stdout=row("p/new", made[0]))

    script.at("chown", 1, remember)
    with pytest.raises(InvalidArgument):
        exporting.create_volume("new")
    assert [["exportfs", "-r"], ["zfs", "destroy", "-f", "p/new"]] == script.taken()[-2:]
    assert ["trident_v1.exports"] == [file.name for file in tmp_path.iterdir()]


def test_what_has_the_name_now_is_not_destroyed_with_a_failed_volume(
    script: Script, exporting: ZfsBackend
) -> None:
    script.fail("chown", stderr="chown: invalid user: '0:0'\n")
    script.say("list", "p/new", stdout=row("p/new", ABSENT))
    with pytest.raises(InvalidArgument):
        exporting.create_volume("new")
    assert list_one("p/new") == script.taken()[-1]


def test_a_busy_volume_is_destroyed_after_retries(script: Script, exporting: ZfsBackend) -> None:
    script.fail("destroy", stderr=BUSY)
    script.at("destroy", 3, lambda: script.say("destroy"))
    exporting.delete_volume(V1)
    assert [DESTROY, FLUSH, DESTROY, FLUSH, DESTROY] == script.taken()[-5:]


def test_retries_without_clients_flush_nothing(script: Script, tmp_path: Path) -> None:
    backend = knowing(script, exports="files", exports_dir=str(tmp_path), max_destroy_retries=1)
    script.fail("destroy", stderr=BUSY)
    with pytest.raises(Busy):
        backend.delete_volume(V1)
    assert [DESTROY, DESTROY] == script.taken()[-2:]


def test_a_volume_that_stays_busy_stays_exported(
    script: Script, exporting: ZfsBackend, tmp_path: Path
) -> None:
    before = (tmp_path / "trident_v1.exports").read_bytes()
    script.fail("destroy", stderr=BUSY)
    with pytest.raises(Busy, match="nfsd/clients"):
        exporting.delete_volume(V1)
    refresh = ["exportfs", "-r"]
    assert [refresh, DESTROY, FLUSH, DESTROY, FLUSH, DESTROY, refresh] == script.taken()[1:]
    assert before == (tmp_path / "trident_v1.exports").read_bytes()


def test_a_volume_with_clones_stays_exported(
    script: Script, exporting: ZfsBackend, tmp_path: Path
) -> None:
    stderr = "cannot destroy 'p/v1': filesystem has dependent clones\nuse '-R' to destroy\n"
    script.fail("destroy", stderr=stderr)
    with pytest.raises(HasDependents):
        exporting.delete_volume(V1)
    assert (tmp_path / "trident_v1.exports").exists()


def test_a_volume_destroyed_by_somebody_meanwhile_is_not_exported_again(
    script: Script, exporting: ZfsBackend, tmp_path: Path
) -> None:
    script.fail("destroy", stderr="cannot open 'p/v1': dataset does not exist\n")
    with pytest.raises(VolumeNotFound):
        exporting.delete_volume(V1)
    assert [] == list(tmp_path.iterdir())


def test_a_rename_that_cannot_move_is_taken_back(
    script: Script, exporting: ZfsBackend, tmp_path: Path
) -> None:
    before = (tmp_path / "trident_v1.exports").read_bytes()
    script.fail("set", "mountpoint=/srv/v2", stderr=BUSY)
    with pytest.raises(Busy):
        exporting.rename_volume(V1, "v2")
    refresh = ["exportfs", "-r"]
    assert [["zfs", "rename", "-u", "p/v2", "p/v1"], refresh] == script.taken()[-2:]
    assert before == (tmp_path / "trident_v1.exports").read_bytes()


def test_a_path_that_is_in_use_is_not_mounted_over(script: Script) -> None:
    backend = knowing(script, srv_root="/dev")
    with pytest.raises(Conflict, match="mounted"):
        backend.patch_volume(V1, junction_path="/shm")
    script.fail("list", "p/shm", stderr="cannot open 'p/shm': dataset does not exist\n")
    with pytest.raises(Conflict, match="mounted"):
        backend.create_volume("shm")
