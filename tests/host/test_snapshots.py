"""Reading as of a snapshot: what is seen, what is refused, and how long it stays open."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from modules.errors import (
    InvalidName,
    NotSupported,
    ObjectNotFound,
    SnapshotNotFound,
    VolumeNotFound,
)
from modules.volumes import SnapshotBackend
from tests.host.objectservice import Site, put
from tests.host.on_datasets import is_wanted
from tests.host.serving import wait_until
from zfsstore.host.backends import find_volume
from zfsstore.host.catalog.records import Tenant
from zfsstore.host.namespace.snapshots import MAX_COPIES, UNUSED_S, WalCopies


@pytest.fixture
def tenant(site: Site) -> Tenant:
    owner = site.tenant("volumes")
    site.service.create_bucket(owner, "photos")
    return owner


def backend(site: Site) -> SnapshotBackend:
    volumes = site.modules["volumes"].volumes  # type: ignore[attr-defined]
    assert isinstance(volumes, SnapshotBackend)
    return volumes


def snapshot(site: Site, tenant: Tenant, name: str) -> Path:
    """Take a snapshot of the bucket "photos"; return its directory."""
    volume = find_volume(backend(site), f"{tenant.name}/photos")
    assert volume is not None
    backend(site).create_snapshot(volume["uuid"], name)
    path = backend(site).access_handle(volume["uuid"])["path"]
    return Path(path, ".zfs/snapshot" if is_wanted() else ".zfsstore/snapshots", name)


def read(site: Site, tenant: Tenant, key: str, name: str | None) -> bytes:
    _version, stream = site.service.open_object(tenant, "photos", key, snapshot=name)
    with stream:
        return stream.read()


def open_files(directory: Path) -> int:
    links = [f"/proc/self/fd/{fd}" for fd in os.listdir("/proc/self/fd")]
    return sum(os.path.realpath(link).startswith(f"{directory}/") for link in links)


def test_what_was_there_is_seen_whatever_came_after(site: Site, tenant: Tenant) -> None:
    service = site.service
    service.create_container(tenant, "photos", "trips/")
    put(site, tenant, "trips/a", b"old")
    put(site, tenant, "b", b"kept")
    first = put(site, tenant, "c", b"deleted later").version
    snapshot(site, tenant, "monday")
    put(site, tenant, "trips/a", b"new and longer")
    service.delete_object(tenant, "photos", "c")
    put(site, tenant, "d", b"later")

    assert [b"old", b"kept", b"deleted later"] == [
        read(site, tenant, key, "monday") for key in ("trips/a", "b", "c")
    ]
    assert b"new and longer" == read(site, tenant, "trips/a", None)
    assert first == service.head_object(tenant, "photos", "c", snapshot="monday")
    with pytest.raises(ObjectNotFound):
        service.head_object(tenant, "photos", "d", snapshot="monday")
    with pytest.raises(ObjectNotFound):
        read(site, tenant, "d", "monday")
    listed = service.list_children(tenant, "photos", snapshot="monday")
    assert ["b", "c", "trips/"] == [item.key for item in listed.items]
    below = service.list_children(tenant, "photos", "trips/", snapshot="monday")
    assert ["trips/a"] == [item.key for item in below.items]
    assert service.container_exists(tenant, "photos", "trips/", snapshot="monday")
    assert not service.container_exists(tenant, "photos", "x/", snapshot="monday")
    live = service.get_bucket(tenant, "photos")
    assert live == service.get_bucket(tenant, "photos", snapshot="monday")


def test_a_snapshot_of_the_same_name_is_another_one(site: Site, tenant: Tenant) -> None:
    put(site, tenant, "k", b"one")
    volume = find_volume(backend(site), f"{tenant.name}/photos")
    assert volume is not None
    for content in (b"one", b"two"):
        put(site, tenant, "k", content)
        made = backend(site).create_snapshot(volume["uuid"], "latest")
        assert content == read(site, tenant, "k", "latest")
        backend(site).delete_snapshot(volume["uuid"], made["uuid"])
    with pytest.raises(SnapshotNotFound):
        read(site, tenant, "k", "latest")


def test_names_that_are_refused(site: Site, tenant: Tenant) -> None:
    snapshot(site, tenant, "monday")
    for name in ("", "a/b", "..", "../photos", "a@b", "%recv", "x" * 300, "a\0b"):
        with pytest.raises(InvalidName):
            site.service.get_bucket(tenant, "photos", snapshot=name)
    with pytest.raises(SnapshotNotFound):
        site.service.get_bucket(tenant, "photos", snapshot="tuesday")
    with pytest.raises(VolumeNotFound):
        site.service.get_bucket(tenant, "absent", snapshot="monday")


def test_a_module_without_snapshots(site: Site) -> None:
    owner = site.tenant("shared")
    site.service.create_bucket(owner, "photos")
    with pytest.raises(NotSupported) as caught:
        site.service.get_bucket(owner, "photos", snapshot="monday")
    assert "snapshots" == caught.value.capability


def test_its_files_are_closed_within_moments(site: Site, tenant: Tenant) -> None:
    put(site, tenant, "k", b"data")
    directory = snapshot(site, tenant, "monday")
    for _ in range(20):
        assert b"data" == read(site, tenant, "k", "monday")
    assert 0 < open_files(directory) <= 4
    wait_until(lambda: open_files(directory) == 0, 10)
    assert b"data" == read(site, tenant, "k", "monday")


def test_a_snapshot_of_a_volume_that_was_not_complete(site: Site, tenant: Tenant) -> None:
    directory = snapshot(site, tenant, "monday")
    for file in directory.glob(".zfsstore/state/index.db*"):
        file.unlink()
    with pytest.raises(SnapshotNotFound, match="before the bucket was complete"):
        site.service.get_bucket(tenant, "photos", snapshot="monday")


@pytest.fixture
def with_wal(site: Site, tenant: Tenant) -> Path:
    """Return a snapshot whose newest key is in the WAL only, as after a power cut."""
    put(site, tenant, "k", b"data")
    directory = snapshot(site, tenant, "monday")
    state = site.volumes_root / tenant.name / "photos" / ".zfsstore/state"
    put(site, tenant, "in the log", b"data")
    for name in ("index.db", "index.db-wal"):
        (directory / ".zfsstore/state" / name).unlink(missing_ok=True)
        shutil.copyfile(state / name, directory / ".zfsstore/state" / name)
    assert (directory / ".zfsstore/state/index.db-wal").stat().st_size > 0
    return directory


@pytest.mark.usefixtures("with_wal")
def test_keys_that_are_in_the_log_alone(site: Site, tenant: Tenant) -> None:
    for _ in range(2):
        listed = site.service.list_children(tenant, "photos", snapshot="monday")
        assert ["in the log", "k"] == [item.key for item in listed.items]
        assert 1 == len(list((site.root / "cache").iterdir()))
        site.service.close()
        site.service = site.open_service()


def test_copies_are_bounded_in_number_and_age(tmp_path: Path) -> None:
    copies = WalCopies(tmp_path / "cache")
    assert 0 == copies.clean()

    def make(number: int, age_s: float) -> Path:
        path = tmp_path / "cache" / str(number)
        path.mkdir(parents=True)
        (path / "index.db").touch()
        now = path.stat().st_mtime
        os.utime(path, (now - age_s, now - age_s))
        return path

    made = [make(number, 70.0 + number) for number in range(MAX_COPIES + 3)]
    old = make(100, UNUSED_S + 5)
    young = make(101, 0)
    assert 5 == copies.clean()
    assert not old.exists()
    assert young.exists()
    assert [True] * 7 + [False] * 4 == [path.exists() for path in made]


def test_a_copy_that_is_read_stays(
    site: Site, tenant: Tenant, with_wal: Path, cleaner: Callable[[], int]
) -> None:
    with site.service._opener.open_snapshot(tenant, "photos", "monday") as opened:
        assert opened.index.get("in the log") is not None
        assert 0 == cleaner()
        assert opened.index.get("k") is not None
    site.service.close()
    assert 1 == cleaner()
    site.service = site.open_service()
    assert b"data" == read(site, tenant, "k", "monday")
    assert 0 == open_files(with_wal / "objects")


@pytest.fixture
def cleaner(site: Site) -> Callable[[], int]:
    """Return a call that cleans as an hour from now."""

    def clean() -> int:
        made = list((site.root / "cache").iterdir())
        return WalCopies(site.root / "cache").clean(now=made[0].stat().st_mtime + 3600)

    return clean
