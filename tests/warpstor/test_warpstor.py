"""The facade's signatures, its confirmations, and where its errors go."""

from __future__ import annotations

import inspect
import threading

import pytest

from modules.errors import (
    InvalidArgument,
    NotFound,
    SnapshotExists,
    StorageError,
    Unavailable,
    VolumeNotFound,
)
from tests.backend.scripted import V1, Script, knowing, populated, row, snapshot_row
from zfsstore.warpstor import METHODS, WarpStor

KEYWORDS = {
    "create_fs": "dataset userid groupid dataset_type",
    "create_fs_no_export": "dataset userid groupid",
    "create_fs_only": "dataset",
    "snapshot": "dataset snap_name",
    "clone": "fs_snapshot dest_fs userid groupid",
    "clone_only": "fs_snapshot dest_fs",
    "filtered_clone": "fs_snapshot dest_fs userid groupid",
    "promote": "cloned_dataset",
    "rename": "dataset_a dataset_b",
    "replace": "dataset userid groupid",
    "get_vfsid_for_export": "dataset",
    "destroy": "dataset recursive recursive_mode force",
    "rebuild_vol": "vol",
    "dataset_exists_not": "dataset_name",
    "snapshot_exists_not": "snapshot_name",
    "list_filesystems": "pattern",
    "list_snapshots": "pattern",
    "list_vols": "",
    "get_available_space_for_vol": "",
    "get_used_space_for_vol": "",
    "list_wst_methods": "",
    "version": "",
}


@pytest.fixture
def script() -> Script:
    return populated()


@pytest.fixture
def warpstor(script: Script) -> WarpStor:
    return WarpStor(knowing(script))


@pytest.mark.parametrize("name", KEYWORDS)
def test_every_call_has_its_keywords_and_no_positions(name: str) -> None:
    parameters = inspect.signature(getattr(WarpStor, name)).parameters
    _self, *keywords = parameters.values()
    assert all(keyword.kind is keyword.KEYWORD_ONLY for keyword in keywords)
    expected = KEYWORDS[name].split()
    assert expected == list(parameters)[1 : 1 + len(expected)]


def test_all_calls_are_listed(warpstor: WarpStor) -> None:
    assert sorted(KEYWORDS) == list(METHODS) == warpstor.list_wst_methods().split(",")


def test_zero_is_success_and_leaves_no_error(warpstor: WarpStor, script: Script) -> None:
    assert 1 == warpstor.promote(cloned_dataset="p/absent")
    assert isinstance(warpstor.last_error, VolumeNotFound)
    assert 0 == warpstor.snapshot(dataset="p/v1", snap_name="s1")
    assert warpstor.last_error is None
    assert ["zfs", "snapshot", "p/v1@s1"] in script.taken()


def test_one_is_a_failure_and_last_error_says_why(warpstor: WarpStor, script: Script) -> None:
    script.fail("snapshot", stderr="cannot create snapshot 'p/v1@s1': dataset already exists\n")
    assert 1 == warpstor.snapshot(dataset="v1", snap_name="s1")
    assert isinstance(warpstor.last_error, SnapshotExists)
    assert "v1@s1" in str(warpstor.last_error)


def test_what_returns_a_dataset_raises(warpstor: WarpStor) -> None:
    with pytest.raises(NotFound) as caught:
        warpstor.clone(fs_snapshot="p/v1@absent", dest_fs="p/new")
    assert caught.value is warpstor.last_error


def test_each_thread_has_its_own_last_error(warpstor: WarpStor) -> None:
    thread = threading.Thread(target=lambda: warpstor.promote(cloned_dataset="absent"))
    thread.start()
    thread.join()
    assert warpstor.last_error is None


def test_names_with_and_without_a_vol(warpstor: WarpStor, script: Script) -> None:
    assert "p/new" == warpstor.create_fs_no_export(dataset="new", userid="0", groupid="0")
    assert ["chown", "0:0", "/srv/new"] == script.taken()[-1]
    assert "p/n2" == warpstor.create_fs_no_export(dataset="p/n2", groupid="users")
    assert ["chown", ":users", "/srv/n2"] == script.taken()[-1]
    with pytest.raises(VolumeNotFound):
        warpstor.create_fs(dataset="other/new")
    with pytest.raises(InvalidArgument):
        warpstor.create_fs(dataset="p/new", userid="-R", groupid="0")
    with pytest.raises(InvalidArgument):
        warpstor.create_fs(dataset="p/new", dataset_type="database")


def test_types_are_sets_of_properties(script: Script) -> None:
    warpstor = WarpStor(knowing(script), dataset_types={"database": {"recordsize": "16K"}})
    warpstor.create_fs(dataset="new", dataset_type="database")
    assert "recordsize=16K" in script.taken()[0]


def test_create_fs_only_sets_nothing(script: Script) -> None:
    warpstor = WarpStor(knowing(script, dataset_owner="0:0", dataset_mode="0755"))
    assert 0 == warpstor.create_fs_only(dataset="new")
    assert 1 == len(script.taken())


@pytest.mark.parametrize("confirm", ["", "no", "YES", "1"])
def test_what_destroys_much_wants_to_be_confirmed(
    warpstor: WarpStor, script: Script, confirm: str
) -> None:
    assert 1 == warpstor.rebuild_vol(confirm=confirm)
    assert isinstance(warpstor.last_error, InvalidArgument)
    assert "confirm" == warpstor.last_error.field
    for dataset in ("p/v1", "p/v1@s1"):
        assert 1 == warpstor.destroy(
            dataset=dataset, recursive="1", recursive_mode="-R", confirm=confirm
        )
        assert isinstance(warpstor.last_error, InvalidArgument)
    assert [] == [argv for argv in script.taken() if "destroy" in argv]


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ({}, ["p/v1"]),
        ({"recursive": "0", "recursive_mode": "-R"}, ["p/v1"]),
        ({"recursive": "1"}, ["-r", "p/v1"]),
        ({"recursive": "1", "recursive_mode": "-r", "force": "-f"}, ["-r", "-f", "p/v1"]),
    ],
)
def test_flags_of_destroy(
    warpstor: WarpStor, script: Script, flags: dict[str, str], expected: list[str]
) -> None:
    assert 0 == warpstor.destroy(dataset="p/v1", **flags)
    assert ["zfs", "destroy", *expected] == script.taken()[-1]


@pytest.mark.parametrize(
    "flags",
    [{"recursive": "yes"}, {"recursive_mode": "-rR"}, {"force": "f"}, {"force": "-f -R"}],
)
def test_wrong_flags_run_nothing(warpstor: WarpStor, script: Script, flags: dict[str, str]) -> None:
    assert 1 == warpstor.destroy(dataset="p/v1", **flags)
    assert isinstance(warpstor.last_error, InvalidArgument)
    assert [] == script.taken()


def test_exists_not(warpstor: WarpStor, script: Script) -> None:
    script.fail("list", "p/absent", stderr="cannot open 'p/absent': dataset does not exist\n")
    assert 0 == warpstor.dataset_exists_not(dataset_name="p/v1")
    assert 1 == warpstor.dataset_exists_not(dataset_name="p/absent")
    assert 0 == warpstor.snapshot_exists_not(snapshot_name="p/v1@s1")
    assert 1 == warpstor.snapshot_exists_not(snapshot_name="p/v1@s2")
    assert 1 == warpstor.snapshot_exists_not(snapshot_name="p/absent@s2")


def test_what_cannot_be_found_out_does_not_exist_not(warpstor: WarpStor, script: Script) -> None:
    script.fail("list", stderr="cannot open 'p': pool I/O is currently suspended\n")
    with pytest.raises(Unavailable):
        warpstor.dataset_exists_not(dataset_name="p/v1")
    with pytest.raises(StorageError):
        warpstor.snapshot_exists_not(snapshot_name="p/v1@s1")


def test_lists(warpstor: WarpStor) -> None:
    assert ["p/c1", "p/v1"] == warpstor.list_filesystems()
    assert ["p/v1"] == warpstor.list_filesystems(pattern="v*")
    assert ["p/c1"] == warpstor.list_filesystems(pattern="p/c?")
    assert [] == warpstor.list_filesystems(pattern="p")
    assert ["p"] == warpstor.list_vols()


def test_snapshots_of_all_vols_are_listed_from_old_to_new() -> None:
    first, second = populated(), populated()
    for script, snapshots in (
        (first, "p/v1@a\t300\np/c1@b\t100\np/v1@c\t500\np/v1/kid@x\t600\n"),
        (second, "q/v1@d\t200\nq/v1@e\t500\n"),
    ):
        script.say("version", stdout="zfs-2.2.7-1\nzfs-kmod-2.2.7-1\n")
        script.say("list", "snapshot", stdout=snapshots)
    second.say("list", "-d", "q", stdout=row("q") + row("q/v1", V1))
    second.say("list", "snapshot", "q", stdout="q/v1@d\t200\nq/v1@e\t500\n")
    both = WarpStor(knowing(first), knowing(second, pool="q"))
    assert ["q/v1@d", "p/v1@a", "p/c1@b", "p/v1@c", "q/v1@e"] == both.list_snapshots()
    assert ["q/v1@d", "q/v1@e"] == both.list_snapshots(pattern="q/*")
    assert ["p/c1@b"] == both.list_snapshots(pattern="b")


def test_space(warpstor: WarpStor) -> None:
    assert 1000000 == warpstor.get_available_space_for_vol()
    assert 98304 == warpstor.get_used_space_for_vol(vol="p")
    with pytest.raises(VolumeNotFound):
        warpstor.get_used_space_for_vol(vol="other")


def test_version(warpstor: WarpStor, script: Script) -> None:
    script.say("version", stdout="zfs-2.3.2-1\nzfs-kmod-2.3.2-1\n")
    ours, of_zfs = warpstor.version().split(",")
    assert ours.startswith("zfsstore ")
    assert "zfs 2.3.2" == of_zfs


def test_a_filter_refuses_a_clone_that_is_not_mounted_here(
    warpstor: WarpStor, script: Script
) -> None:
    script.say("list", "snapshot", "p/v1", stdout=snapshot_row("p/v1@s1"))
    with pytest.raises(Unavailable):
        warpstor.filtered_clone(fs_snapshot="p/v1@s1", dest_fs="p/new", include="*.txt")
    with pytest.raises(InvalidArgument):
        warpstor.filtered_clone(fs_snapshot="p/v1@s1", dest_fs="p/new", include="../*")


def test_one_backend_for_each_vol(script: Script) -> None:
    with pytest.raises(InvalidArgument):
        WarpStor()
    with pytest.raises(InvalidArgument):
        WarpStor(knowing(script), knowing(script))
