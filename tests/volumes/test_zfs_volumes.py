"""What ZfsVolumes asks of zfs, and how often; on real ZFS: tests/zfs/test_volume_*.py."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest

from modules.errors import Conflict, HasDependents, InvalidArgument, VolumeNotFound
from modules.volumes import OperatorBackend, ReplicationBackend
from tests.volumes.listed_datasets import NAME, ROOT, UUID, ListedDatasets, volumes_over
from zfsstore import layout
from zfsstore.volumes.common import snapshot_uuid
from zfsstore.volumes.zfs import ZfsVolumes

V = [str(uuid.UUID(int=number)) for number in range(10)]


@pytest.fixture
def listed(tmp_path: Path) -> ListedDatasets:
    return ListedDatasets(tmp_path)


@pytest.fixture
def volumes(listed: ListedDatasets) -> ZfsVolumes:
    return volumes_over(listed)


def commands(listed: ListedDatasets) -> list[str]:
    return [argv[1] for argv in listed.taken()]


def snapshots(*names: str) -> str:
    """Return what ``zfs list`` prints of snapshots: name, creation, used, guid."""
    return "".join(f"{ROOT}/{name}\t1700000000\t7\t{3 + at}\n" for at, name in enumerate(names))


def test_it_offers_every_tier(volumes: ZfsVolumes) -> None:
    tiers: tuple[ReplicationBackend, OperatorBackend] = (volumes, volumes)
    assert {"snapshots": True, "clones": True, "replication": True} == tiers[0].capabilities()


def test_a_thousand_tenants_are_listed_by_one_process_and_frozen_by_one(
    listed: ListedDatasets, volumes: ZfsVolumes
) -> None:
    uuids = [str(uuid.UUID(int=number)) for number in range(1, 1001)]
    for number, own in enumerate(uuids):
        listed.add(f"t{number:04}", zfsstore__uuid=own, zfsstore__name=f"t{number:04}")
    assert uuids == [volume["uuid"] for volume in volumes.list_volumes()]
    assert ["get"] == commands(listed)

    names = [f"t{number:04}@now" for number in range(1000)]
    listed.said["list"] = {"success": True, "stdout": snapshots(*names)}
    made = volumes.create_snapshots(uuids, "now")
    taken = listed.taken()
    assert ["get", "snapshot", "version", "list"] == [argv[1] for argv in taken]
    assert ["zfs", "snapshot", *(f"{ROOT}/{name}" for name in names)] == taken[1]
    assert ("now", snapshot_uuid("3")) == (made[0]["name"], made[0]["uuid"])
    assert 1000 == len({snapshot["uuid"] for snapshot in made})


def test_no_snapshot_is_taken_when_one_volume_is_not_there(
    listed: ListedDatasets, volumes: ZfsVolumes
) -> None:
    listed.add_volume("a", V[1])
    with pytest.raises(VolumeNotFound):
        volumes.create_snapshots([V[1], V[2]], "now")
    assert ["get"] == commands(listed)


def test_a_volume_named_twice_is_frozen_once(listed: ListedDatasets, volumes: ZfsVolumes) -> None:
    listed.add_volume("a", V[1])
    listed.said["list"] = {"success": True, "stdout": snapshots("a@s")}
    assert ["s"] == [one["name"] for one in volumes.create_snapshots([V[1], V[1].upper()], "s")]
    assert ["zfs", "snapshot", f"{ROOT}/a@s"] == listed.taken()[1]
    assert [] == volumes.create_snapshots([], "s")


def test_snapshots_of_a_volume_are_listed_without_those_of_its_buckets(
    listed: ListedDatasets, volumes: ZfsVolumes
) -> None:
    listed.add_volume("a", V[1])
    volumes.list_volumes()
    listed.said["list"] = {"success": True, "stdout": snapshots("a@one", "a@two")}
    assert ["one", "two"] == [one["name"] for one in volumes.list_snapshots(V[1])]
    assert ["-d", "1", "-t", "snapshot"] == listed.taken()[-1][3:7]
    assert volumes.get_snapshot(V[1], "nonsense") is None


def test_of_two_datasets_with_one_uuid_the_older_keeps_it_for_good(
    listed: ListedDatasets, volumes: ZfsVolumes
) -> None:
    listed.add_volume("copy", V[1], createtxg="20", guid="77")
    listed.add_volume("original", V[1], createtxg="10", guid="66")
    found = {volume["name"]: volume["uuid"] for volume in volumes.list_volumes()}
    assert V[1] == found["original"] != found["copy"]
    assert found == {v["name"]: v["uuid"] for v in volumes_over(listed).list_volumes()}
    assert ["get", "get", "set", "get"] == commands(listed)
    assert found["copy"] == layout.read_volume_file(listed.root / "copy", subject="").uuid
    moved = volumes.get_volume(found["copy"])
    assert moved is not None
    assert "copy" == moved["name"]


def test_who_may_not_record_a_new_uuid_sees_the_same_one_as_others(
    listed: ListedDatasets, volumes: ZfsVolumes
) -> None:
    listed.add_volume("original", V[1], createtxg="10", guid="66")
    listed.add_volume("copy", V[1], createtxg="20", guid="77")
    listed.said["set"] = {"success": False, "stderr": "permission denied", "exit_code": 1}
    seen = [volume["uuid"] for volume in volumes.list_volumes()]
    del listed.said["set"]
    assert seen == [volume["uuid"] for volume in volumes_over(listed).list_volumes()]
    assert 2 == len(set(seen))


def test_a_clone_names_its_origin_wherever_that_is(
    listed: ListedDatasets, volumes: ZfsVolumes
) -> None:
    long = "L" * 100
    listed.add_volume("Ä", V[1])
    listed.add(".trash", mountpoint="none")
    listed.add(".trash/x", zfsstore__uuid=V[2], zfsstore__trashed_name="old tenant")
    listed.add(".trash/x/b", zfsstore__uuid=V[8], zfsstore__name="b")
    listed.add_volume(f"Ä/{long}", V[7])
    listed.add("_c3_84/.trash", mountpoint="none")
    listed.add("_c3_84/.trash/y", zfsstore__uuid=V[9], zfsstore__trashed_name="%C3%84/gone")
    origins = {
        "of-locked": f"{ROOT}/_c3_84/.trash/y@s",
        "of-live": f"{ROOT}/_c3_84@s",
        "of-long": f"{ROOT}/_c3_84/{volumes._lookup.dataset(('Ä', long)).rpartition('/')[2]}@s",
        "of-trash": f"{ROOT}/.trash/x@s",
        "of-bucket": f"{ROOT}/.trash/x/b@s",
        "of-foreign": "tank/elsewhere@s",
    }
    for number, (name, origin) in enumerate(origins.items()):
        listed.add_volume(name, str(uuid.UUID(int=100 + number)), origin=origin)
    expected = {
        "of-locked": "Ä/gone",
        "of-live": "Ä",
        "of-long": f"Ä/{long}",
        "of-trash": "old tenant",
        "of-bucket": "old tenant/b",
        "of-foreign": "tank/elsewhere",
    }
    found = {v["name"]: v for v in volumes.list_volumes() if "clone" in v}
    assert ["get", "get"] == commands(listed)  # the second for what lies deep in the trash
    assert expected == {name: v["clone"]["parent_volume"] for name, v in found.items()}
    single = {name: volumes.get_volume(v["uuid"]) for name, v in found.items()}
    assert found == single


def test_a_clone_is_created_with_its_identity_and_its_parents_choices(
    listed: ListedDatasets, volumes: ZfsVolumes
) -> None:
    listed.add_volume("a", V[1], quota="1073741824", compression="zstd", reservation="4096")
    listed.said["list"] = {"success": True, "stdout": snapshots("a@s")}
    listed.said["clone"] = {
        "success": False,
        "stderr": f"cannot create '{ROOT}/b/c': parent does not exist\n",
        "exit_code": 1,
    }
    volumes.list_volumes()
    listed.taken()
    for _ in range(2):  # what is asked once only: which ZFS this is, and for the trash
        with pytest.raises(VolumeNotFound, match="tenant 'b' does not exist"):
            volumes.create_clone(V[1], snapshot_uuid("3"), "b/c")
        taken = listed.taken()
    assert ["get", "list", "clone"] == [argv[1] for argv in taken[:3]]
    (argv,) = (argv for argv in taken if argv[1] == "clone")
    chosen = dict(part.split("=") for part in argv if "=" in part)
    assert [f"{ROOT}/a@s", f"{ROOT}/b/c"] == argv[-2:]
    assert {
        "quota": "1073741824",
        "compression": "zstd",
        "setuid": "off",
        NAME: "c",
    }.items() <= chosen.items()
    assert chosen[UUID] != V[1]
    assert "reservation" not in chosen
    assert "mountpoint" not in chosen


def test_rollback_past_newer_snapshots_must_be_asked_for(
    listed: ListedDatasets, volumes: ZfsVolumes
) -> None:
    listed.add_volume("a", V[1])
    listed.said["list"] = {"success": True, "stdout": snapshots("a@s", "a@t")}
    with pytest.raises(HasDependents, match="1 snapshots are newer: t"):
        volumes.rollback_volume(V[1], snapshot_uuid("3"))
    assert "rollback" not in commands(listed)
    assert V[1] == volumes.rollback_volume(V[1], snapshot_uuid("4"))["uuid"]
    assert ["zfs", "rollback", f"{ROOT}/a@t"] in listed.taken()


def test_a_tenant_cannot_become_a_bucket(listed: ListedDatasets, volumes: ZfsVolumes) -> None:
    listed.add_volume("a", V[1])
    with pytest.raises(InvalidArgument, match="cannot become"):
        volumes.rename_volume(V[1], "b/a")
    assert ["get"] == commands(listed)


def test_a_rename_that_fails_leaves_the_name(listed: ListedDatasets, volumes: ZfsVolumes) -> None:
    listed.add_volume("a", V[1])
    volumes.patience_s = 0.0
    busy = {"success": False, "stderr": "cannot unmount '/a': pool or dataset is busy"}
    listed.said["rename"] = {**busy, "exit_code": 1}  # type: ignore[typeddict-item]
    with pytest.raises(Conflict, match="busy"):
        volumes.rename_volume(V[1], "b")
    assert ["a"] == [volume["name"] for volume in volumes.list_volumes()]
    sets = [argv[2] for argv in listed.taken() if argv[1] == "set"]
    assert [f"{NAME}=b", f"{NAME}=a"] == sets


def test_a_long_name_outlives_a_rename_that_was_cut_off(
    listed: ListedDatasets, volumes: ZfsVolumes
) -> None:
    name = "A" * 100
    listed.add_volume(name, V[1])
    (dataset,) = (argv for argv in (volumes._lookup.dataset((name,)),))
    listed(["zfs", "set", f"{NAME}=another", dataset])
    (found,) = volumes.list_volumes()
    assert (name, "online") == (found["name"], found["state"])


def test_the_trash_is_listed_by_two_processes_oldest_first(
    listed: ListedDatasets, volumes: ZfsVolumes
) -> None:
    assert [] == volumes.list_trash()
    listed.taken()
    listed.add(".trash", mountpoint="none")
    for number, at in enumerate(("2024-05-01T00:00:00+00:00", "2023-05-01T00:00:00+00:00", "x")):
        note = {"zfsstore__trashed_name": f"n{number}", "zfsstore__trashed_at": at}
        listed.add(f".trash/e{number}", zfsstore__uuid=V[number], **note)
    assert ["n2", "n1", "n0"] == [entry.name for entry in volumes.list_trash()]
    assert ["get", "get"] == commands(listed)
    with pytest.raises(VolumeNotFound, match="not in the trash"):
        volumes.restore_volume("../../escape")
