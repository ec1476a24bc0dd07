"""What an operator may do to tenants' and buckets' volumes."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from modules.errors import (
    AlreadyExists,
    Busy,
    Conflict,
    HasDependents,
    InvalidArgument,
    InvalidName,
    NotFound,
    NotSupported,
    SnapshotExists,
    SnapshotNotFound,
    VolumeExists,
    VolumeNotFound,
)
from tests.host import on_datasets
from zfsstore.host.bootstrap import bootstrap
from zfsstore.host.config import Config
from zfsstore.host.services import Services, open_services


@pytest.fixture
def services(tmp_path: Path) -> Iterator[Services]:
    """Return the services of a store with the tenants acme and other, both in "default"."""
    config = Config(data_dir=tmp_path / "data")
    if on_datasets.is_wanted():
        on_datasets.configure(config.data_dir)
    bootstrap(config)
    with open_services(config) as opened:
        for tenant in ("acme", "other"):
            opened.administration.create_tenant(tenant, policy="default")
        opened.objects.create_bucket(opened.catalog.get_tenant("acme"), "photos")
        yield opened


def put(services: Services, bucket: str, key: str, data: bytes) -> None:
    tenant, _, name = bucket.partition("/")
    services.objects.put_object(
        services.catalog.get_tenant(tenant),
        name,
        key,
        io.BytesIO(data),
        content_length=len(data),
        content_type=None,
    )


def get(services: Services, bucket: str, key: str) -> bytes:
    tenant, _, name = bucket.partition("/")
    owner = services.catalog.get_tenant(tenant)
    _version, stream = services.objects.open_object(owner, name, key)
    with stream:
        return stream.read()


def names(services: Services, tenant: str | None = None) -> list[str]:
    return [volume["name"] for volume in services.volumes.list_volumes(tenant)]


def test_volumes_are_listed_by_tenant(services: Services) -> None:
    assert ["acme", "acme/photos", "administrator", "other"] == names(services)
    assert ["acme", "acme/photos"] == names(services, "acme")
    assert "acme/photos" == services.volumes.get_volume("acme/photos")["name"]
    with pytest.raises(NotFound):
        names(services, "nobody")
    for name in ("nobody", "nobody/photos", "acme/absent"):
        with pytest.raises(NotFound):
            services.volumes.get_volume(name)
    for name in ("", "/", "acme/", "acme/..", "acme/a/b", "acme/a\0"):
        with pytest.raises(InvalidName):
            services.volumes.get_volume(name)


def test_snapshots_of_a_bucket_and_of_a_tenant(services: Services) -> None:
    volumes = services.volumes
    put(services, "acme/photos", "k", b"data")
    (made,) = volumes.create_snapshot("acme/photos", "monday")
    assert ("acme/photos", "monday") == (made.volume, made.name)
    assert made.created_at is not None
    assert made.created_at.tzinfo is not None
    both = volumes.create_snapshot("acme", "tuesday")
    assert [("acme", "tuesday"), ("acme/photos", "tuesday")] == [(s.volume, s.name) for s in both]
    with pytest.raises(SnapshotExists):
        volumes.create_snapshot("acme", "monday")
    listed = [(s.volume, s.name) for s in volumes.list_snapshots("acme")]
    assert [
        ("acme", "tuesday"),
        ("acme/photos", "monday"),
        ("acme/photos", "tuesday"),
    ] == listed
    gone = volumes.delete_snapshot("acme", "tuesday")
    assert ["acme", "acme/photos"] == [snapshot.volume for snapshot in gone]
    (left,) = volumes.list_snapshots("acme/photos")
    assert made == replace(
        left, size_bytes=made.size_bytes
    )  # on ZFS it grows when it is written out
    with pytest.raises(SnapshotNotFound):
        volumes.delete_snapshot("acme", "tuesday")
    with pytest.raises(InvalidName):
        volumes.create_snapshot("acme", "a/b")


def test_forks(services: Services) -> None:
    volumes = services.volumes
    put(services, "acme/photos", "k", b"old")
    volumes.create_snapshot("acme/photos", "monday")
    put(services, "acme/photos", "k", b"new")
    assert "acme/then" == volumes.fork("acme/photos", "acme/then", snapshot="monday")["name"]
    volumes.fork("acme/photos", "other/now")
    put(services, "other/now", "own", b"more")
    assert [b"old", b"new", b"more"] == [
        get(services, *where)
        for where in (("acme/then", "k"), ("other/now", "k"), ("other/now", "own"))
    ]
    with pytest.raises(NotFound):
        get(services, "acme/photos", "own")
    with pytest.raises(HasDependents):
        volumes.delete_snapshot("acme/photos", "monday")
    before = volumes.list_snapshots("acme/photos")
    with pytest.raises(VolumeExists):
        volumes.fork("acme/photos", "acme/then")
    assert before == volumes.list_snapshots("acme/photos")
    with pytest.raises(SnapshotNotFound):
        volumes.fork("acme/photos", "acme/again", snapshot="sunday")
    with pytest.raises(InvalidArgument, match="names a tenant"):
        volumes.fork("acme", "acme/again")
    with pytest.raises(InvalidArgument, match="names a tenant"):
        volumes.fork("acme/photos", "again")
    volumes.promote("acme/then")
    assert ["monday"] == [s.name for s in volumes.list_snapshots("acme/then")]


def test_rollback(services: Services) -> None:
    volumes = services.volumes
    put(services, "acme/photos", "k", b"old")
    volumes.create_snapshot("acme/photos", "monday")
    put(services, "acme/photos", "k", b"new")
    put(services, "acme/photos", "later", b"")
    volumes.create_snapshot("acme/photos", "tuesday")
    uuid = volumes.get_volume("acme/photos")["uuid"]
    with pytest.raises(HasDependents):
        volumes.rollback("acme/photos", "monday")
    assert uuid == volumes.rollback("acme/photos", "monday", destroy_newer=True)["uuid"]
    assert b"old" == get(services, "acme/photos", "k")
    with pytest.raises(NotFound):
        get(services, "acme/photos", "later")
    put(services, "acme/photos", "k", b"newest")
    assert b"newest" == get(services, "acme/photos", "k")
    with pytest.raises(InvalidArgument, match="one by one"):
        volumes.rollback("acme", "monday")


def test_a_bucket_is_renamed_into_another_tenant(services: Services) -> None:
    volumes = services.volumes
    put(services, "acme/photos", "k", b"data")
    uuid = volumes.get_volume("acme/photos")["uuid"]
    volumes.rename("acme/photos", "acme/pictures")
    volumes.rename("acme/pictures", "other/pictures")
    assert uuid == volumes.get_volume("other/pictures")["uuid"]
    assert b"data" == get(services, "other/pictures", "k")
    put(services, "other/pictures", "l", b"more")
    with pytest.raises(VolumeNotFound):
        get(services, "acme/photos", "k")
    services.objects.create_bucket(services.catalog.get_tenant("acme"), "photos")
    with pytest.raises(VolumeExists):
        volumes.rename("acme/photos", "other/pictures")
    with pytest.raises(NotFound):
        volumes.rename("acme/photos", "nobody/photos")


def test_what_another_module_keeps_cannot_be_renamed_into(
    services: Services, tmp_path: Path
) -> None:
    spec = {"module": "zfsstore.ZFSStorage", "args": {"directory": str(tmp_path / "second")}}
    services.administration.put_module("second", spec)
    services.administration.create_tenant("far", policy="second")
    for call in (services.volumes.rename, services.volumes.fork):
        with pytest.raises(Conflict, match="second"):
            call("acme/photos", "far/photos")


def test_a_module_without_volumes(services: Services, tmp_path: Path) -> None:
    spec = {"module": "simple.simple.SimpleStorage", "args": {"storage_dir": str(tmp_path / "s")}}
    services.administration.put_module("plain", spec)
    services.administration.create_tenant("plain", policy="plain")
    for call in (
        lambda: services.volumes.create_snapshot("plain", "monday"),
        lambda: services.volumes.rename("plain", "plainer"),
        lambda: services.volumes.list_trash("plain"),
    ):
        with pytest.raises(NotSupported):
            call()
    assert ["default"] == services.volumes.trash_modules()


def test_size(services: Services) -> None:
    volumes = services.volumes
    gib = 1024**3
    assert gib == volumes.resize("acme/photos", gib)["size_bytes"]
    assert 2 * gib == volumes.resize("acme", 2 * gib)["size_bytes"]
    assert 2 * gib == services.catalog.get_tenant("acme").quota_bytes
    with pytest.raises(InvalidArgument):
        volumes.resize("acme", 0)


def test_what_clients_deleted_comes_back(services: Services) -> None:
    volumes = services.volumes
    acme = services.catalog.get_tenant("acme")
    services.objects.delete_bucket(acme, "photos")
    (trashed,) = volumes.list_trash("default")
    assert "acme/photos" == trashed.name
    volumes.restore("default", trashed.id, "acme/again")
    assert ["acme", "acme/again"] == names(services, "acme")
    assert [] == volumes.list_trash("default")
    assert volumes.plan_destroy("acme/again").names
    volumes.destroy("acme/again")
    assert ["acme"] == names(services, "acme")
    assert [] == volumes.empty_trash("default", older_than=timedelta(0), dry_run=False)
    with pytest.raises(InvalidArgument):
        volumes.destroy("acme")


def test_a_tenant_is_renamed_with_buckets_and_users(services: Services) -> None:
    admin, volumes = services.administration, services.volumes
    admin.create_user("alice", tenant="acme", password="long enough")
    put(services, "acme/photos", "k", b"data")
    volumes.rename("acme", "acme inc")
    assert ["acme inc", "acme inc/photos"] == names(services, "acme inc")
    assert "acme inc" == admin.get_user("alice").tenant
    assert b"data" == get(services, "acme inc/photos", "k")
    with pytest.raises(NotFound):
        admin.get_tenant("acme")
    with pytest.raises(AlreadyExists):
        volumes.rename("acme inc", "other")
    with pytest.raises(InvalidName):
        volumes.rename("acme inc", "a/b")
    with pytest.raises(InvalidName):
        volumes.rename("acme inc", ".hidden")
    admin.create_tenant("acme", policy="default")
    assert () == services.objects.list_buckets(admin.get_tenant("acme")).buckets


class Crash(BaseException):
    """As kill -9: no handler runs."""


@pytest.mark.parametrize("step", ["rename_volume", "finish_tenant_rename"])
def test_an_interrupted_rename_of_a_tenant_is_completed(
    services: Services, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    volumes = services.volumes
    backend = services.registry.get("default").volumes  # type: ignore[attr-defined]
    target = type(backend) if step == "rename_volume" else type(services.catalog)

    def crash(*arguments: object) -> None:
        raise Crash

    with monkeypatch.context() as patch:
        patch.setattr(target, step, crash)
        with pytest.raises(Crash):
            volumes.rename("acme", "renamed")
    for name in ("acme", "renamed"):
        with pytest.raises(Conflict, match="unfinished"):
            services.administration.put_tenant(name, policy="default", quota_bytes=1024**3)
    with pytest.raises(Conflict, match="unfinished"):
        volumes.rename("other", "another")
    with pytest.raises(Conflict, match="unfinished"):
        volumes.rename("acme", "another")
    volumes.rename("acme", "renamed")
    assert ["administrator", "other", "renamed", "renamed/photos"] == names(services)
    volumes.rename("other", "another")


def test_a_rename_that_fails_leaves_the_tenant_as_it_was(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    volumes = services.volumes
    backend = services.registry.get("default").volumes  # type: ignore[attr-defined]

    def fail(*arguments: object) -> None:
        raise Busy("injected")

    with monkeypatch.context() as patch:
        patch.setattr(type(backend), "rename_volume", fail)
        with pytest.raises(Busy):
            volumes.rename("acme", "renamed")
    put(services, "acme/photos", "k", b"data")
    services.administration.put_tenant("acme", policy="default", quota_bytes=1024**3)
    volumes.rename("acme", "renamed")
    assert b"data" == get(services, "renamed/photos", "k")
