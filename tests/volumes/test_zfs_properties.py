"""What creating, changing and locking volumes asks of zfs: argv only, no pool."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from modules.errors import InvalidArgument, Locked, NotSupported, Unavailable, VolumeNotFound
from modules.volume_properties import EncryptionBackend, EncryptionKey, PropertyBackend
from tests.volumes.listed_datasets import ROOT, ListedDatasets, volumes_over
from zfsstore import ZFSStorage, layout
from zfsstore.places import Places
from zfsstore.volumes.zfs import ZfsVolumes

V = [f"00000000-0000-4000-8000-00000000000{n}" for n in range(4)]
MIB = 1024 * 1024
RAW = bytes(range(32))


@pytest.fixture
def listed(tmp_path: Path) -> ListedDatasets:
    (tmp_path / layout.ENCRYPTED).mkdir(parents=True)
    (tmp_path / layout.FENCES).mkdir()
    return ListedDatasets(tmp_path)


@pytest.fixture
def volumes(listed: ListedDatasets) -> ZfsVolumes:
    return volumes_over(listed)


@pytest.fixture
def key(tmp_path: Path) -> EncryptionKey:
    path = tmp_path / "key"
    path.write_bytes(RAW)
    path.chmod(0o600)
    return EncryptionKey(file=str(path))


def encrypted(tenant: str, status: str = "available") -> dict[str, str]:
    mounted = "yes" if status == "available" else "no"
    root = f"{ROOT}/{tenant}"
    return {"encryptionroot": root, "keystatus": status, "mounted": mounted}


def said(listed: ListedDatasets, verb: str) -> Sequence[str]:
    (argv,) = (argv for argv in listed.taken() if argv[1] == verb)
    return argv


def test_backend_is_what_it_claims(volumes: ZfsVolumes) -> None:
    assert isinstance(volumes, PropertyBackend)
    assert isinstance(volumes, EncryptionBackend)


def test_chosen_properties_are_in_the_creating_command(
    listed: ListedDatasets, volumes: ZfsVolumes
) -> None:
    chosen = {"quota": "1G", "refquota": "64M", "compression": "zstd-3", "recordsize": "128K"}
    with pytest.raises(Unavailable):  # nothing was mounted
        volumes.create_volume("acme", properties=chosen)
    (argv,) = (argv for argv in listed.taken() if argv[-1] == f"{ROOT}/acme")
    expected = {f"quota={1024 * MIB}", f"refquota={64 * MIB}", "compression=zstd-3", "setuid=off"}
    assert expected <= set(argv)
    assert "recordsize=16384" in argv  # until the index is there


@pytest.mark.parametrize(
    ("properties", "problem"),
    [
        ({"mountpoint": "/etc"}, "may not be chosen"),
        ({"quota": "1K"}, "must be"),
        ({"zfsstore:uuid": V[0]}, "may not be chosen"),
    ],
)
def test_wrong_property_runs_no_command(
    listed: ListedDatasets, volumes: ZfsVolumes, properties: dict[str, str], problem: str
) -> None:
    listed.add_volume("acme", V[1])
    calls: list[Callable[[], object]] = [
        lambda: volumes.create_volume("other", properties=properties),
        lambda: volumes.set_properties(V[1], properties),
    ]
    for call in calls:
        with pytest.raises(InvalidArgument, match=problem):
            call()
    assert [] == listed.taken()


def test_size_and_quota_must_agree(volumes: ZfsVolumes) -> None:
    with pytest.raises(InvalidArgument, match="give one of them"):
        volumes.create_volume("acme", 64 * MIB, properties={"quota": "1G"})


def test_bucket_has_no_key_of_its_own(
    listed: ListedDatasets, volumes: ZfsVolumes, key: EncryptionKey
) -> None:
    with pytest.raises(InvalidArgument, match="no key of its own"):
        volumes.create_volume("acme/photos", encryption=key)
    assert [] == listed.taken()


def test_properties_are_set_by_one_command(listed: ListedDatasets, volumes: ZfsVolumes) -> None:
    listed.add_volume("acme", V[1])
    volumes.set_properties(V[1], {"quota": "none", "compression": "lz4", "reservation": "1G"})
    argv = said(listed, "set")
    assert ["quota=none", "compression=lz4", f"reservation={1024 * MIB}"] == list(argv[2:-1])
    with pytest.raises(VolumeNotFound):
        volumes.set_properties(V[2], {"quota": "none"})


def test_properties_are_told_as_they_would_be_set(
    listed: ListedDatasets, volumes: ZfsVolumes
) -> None:
    listed.add_volume("acme", V[1], recordsize="131072", snapshot_limit="none", copies="1")
    found = volumes.get_properties(V[1])
    assert ("none", "131072", "none", "1") == tuple(
        found[name] for name in ("quota", "recordsize", "snapshot_limit", "copies")
    )
    assert "special_small_blocks" not in found


def test_list_notes_which_tenants_are_encrypted(
    listed: ListedDatasets, volumes: ZfsVolumes, tmp_path: Path
) -> None:
    layout.encrypted_path(tmp_path, "gone").touch()
    listed.add_volume("plain", V[0])
    listed.add_volume("vault", V[1], **encrypted("vault", "unavailable"))
    listed.add_volume("vault/box", V[2], **encrypted("vault", "unavailable"))
    states = [(volume["name"], volume["state"]) for volume in volumes.list_volumes()]
    assert [("plain", "online"), ("vault", "offline"), ("vault/box", "offline")] == states
    noted = layout.encrypted_path(tmp_path, "vault").name
    assert [noted] == os.listdir(tmp_path / layout.ENCRYPTED)


def test_locked_tenant_is_told_apart_without_a_command(tmp_path: Path) -> None:
    (tmp_path / layout.OWN).mkdir()
    layout.write_volume_file(tmp_path, layout.VolumeRecord("0" * 32, V[0], ""))
    (tmp_path / layout.ENCRYPTED).mkdir()
    (tmp_path / "vault").mkdir()
    places = Places(str(tmp_path), "main", are_datasets=True)
    for name in ("vault", "vault/box"):
        with pytest.raises(Unavailable, match="no mounted, complete volume") as caught:
            places.check(places.live({"tenant": name}))
        assert not isinstance(caught.value, Locked)
    layout.encrypted_path(tmp_path, "vault").touch()
    for name in ("vault", "vault/box"):
        for snapshot in ({}, {"snapshot": "monday"}):
            place = places.find_readable({"tenant": name, **snapshot})
            with pytest.raises(Locked, match="zfsstore volume unlock vault"):
                places.check(place)


def test_locked_tenant_is_not_moved_or_cloned(listed: ListedDatasets, volumes: ZfsVolumes) -> None:
    listed.add_volume("vault", V[1], **encrypted("vault", "unavailable"))
    listed.add_volume("vault/box", V[2], **encrypted("vault", "unavailable"))
    calls: list[Callable[[], object]] = [
        lambda: volumes.delete_volume(V[2]),
        lambda: volumes.delete_volume(V[1]),
        lambda: volumes.rename_volume(V[1], "safe"),
        lambda: volumes.create_clone(V[2], V[3], "vault/fork"),
    ]
    for call in calls:
        with pytest.raises(Locked):
            call()
    assert {"get"} == {argv[1] for argv in listed.taken()}


def test_encrypted_bucket_stays_in_its_tenant(listed: ListedDatasets, volumes: ZfsVolumes) -> None:
    listed.add_volume("other", V[0])
    listed.add_volume("vault", V[1], **encrypted("vault"))
    listed.add_volume("vault/box", V[2], **encrypted("vault"))
    with pytest.raises(InvalidArgument, match="must stay in it"):
        volumes.rename_volume(V[2], "other/box")
    for new_name in ("other/fork", "fork"):
        with pytest.raises(InvalidArgument, match="must stay in it"):
            volumes.create_clone(V[2], V[3], new_name)


def test_key_can_be_loaded_only_where_there_is_one(
    listed: ListedDatasets, volumes: ZfsVolumes, key: EncryptionKey
) -> None:
    listed.add_volume("plain", V[0])
    listed.add_volume("vault", V[1], **encrypted("vault", "unavailable"), keylocation="prompt")
    listed.add_volume("vault/box", V[2], **encrypted("vault", "unavailable"))
    cases = {V[0]: "not encrypted", V[2]: "key of its tenant"}
    for uuid, problem in cases.items():
        with pytest.raises(InvalidArgument, match=problem):
            volumes.unlock_volume(uuid, key)
        with pytest.raises(InvalidArgument, match=problem):
            volumes.lock_volume(uuid)
    with pytest.raises(InvalidArgument, match="given by hand"):
        volumes.unlock_volume(V[1])
    assert {"get"} == {argv[1] for argv in listed.taken()}


def test_directories_have_a_quota_and_nothing_else(tmp_path: Path, key: EncryptionKey) -> None:
    volumes = ZFSStorage(directory=str(tmp_path / "store")).volumes
    assert isinstance(volumes, PropertyBackend)
    assert not isinstance(volumes, EncryptionBackend)
    with pytest.raises(NotSupported, match="compression"):
        volumes.create_volume("acme", properties={"compression": "lz4"})
    with pytest.raises(NotSupported, match="encrypted"):
        volumes.create_volume("acme", encryption=key)
    made = volumes.create_volume("acme", properties={"quota": "64M"})
    assert 64 * MIB == made["size_bytes"]
    uuid = made["uuid"]
    assert {"quota": str(64 * MIB), "used": "0"} == volumes.get_properties(uuid)
    with pytest.raises(NotSupported, match="copies"):
        volumes.set_properties(uuid, {"copies": "2"})
    assert volumes.set_properties(uuid, {"quota": "none"})["size_bytes"] is None
    assert {"quota": "none"} == volumes.get_properties(uuid)
    assert 32 * MIB == volumes.set_properties(uuid, {"quota": "32M"})["size_bytes"]
    with pytest.raises(VolumeNotFound):
        volumes.set_properties(V[1], {"quota": "none"})
