"""What a crash, a failing module or another process leaves behind, and who cleans it up."""

from __future__ import annotations

import io
import sqlite3
from datetime import timedelta

import pytest

from modules import StorageModule
from modules.context import Context
from modules.errors import (
    Busy,
    Conflict,
    IntegrityError,
    ObjectNotFound,
    SubstrateError,
    Unavailable,
    VolumeNotFound,
)
from modules.streams import SupportsRead
from tests.host.objectservice import Site, get, put
from zfsstore.host.catalog.records import Tenant
from zfsstore.host.errors import CommitUncertain
from zfsstore.host.namespace.index import Index


@pytest.fixture
def tenant(site: Site) -> Tenant:
    owner = site.tenant("shared")
    site.service.create_bucket(owner, "photos")
    return owner


def test_a_crash_between_put_and_commit_leaves_a_file_and_no_key(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    tenant = site.tenant("volumes")
    site.service.create_bucket(tenant, "photos")

    def crash(*arguments: object, **options: object) -> None:
        raise SystemExit  # no handler runs on the way out, as after kill -9

    monkeypatch.setattr(Index, "put", crash)
    with pytest.raises(SystemExit):
        put(site, tenant, "k", b"data")
    monkeypatch.undo()
    with pytest.raises(ObjectNotFound):
        get(site, tenant, "k")
    assert 1 == len(site.files("volumes"))
    report = site.service.sweep(tenant, "photos", older_than=timedelta(0), dry_run=False)
    assert 1 == len(report.unreferenced)


def test_a_commit_that_fails_takes_the_file_along(
    site: Site, tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object, **options: object) -> None:
        raise Busy("injected")

    monkeypatch.setattr(Index, "put", fail)
    with pytest.raises(Busy):
        put(site, tenant, "k", b"data")
    assert [] == site.files("shared")


def test_a_commit_of_unknown_outcome_leaves_the_file(
    site: Site, tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object, **options: object) -> None:
        raise CommitUncertain("injected")

    monkeypatch.setattr(Index, "put", fail)
    with pytest.raises(CommitUncertain):
        put(site, tenant, "k", b"data")
    assert 1 == len(site.files("shared"))


def test_a_crash_between_commit_and_delete_is_made_good(site: Site, tenant: Tenant) -> None:
    put(site, tenant, "k", b"old")

    def crash(module_data: str) -> None:
        raise SystemExit

    site.faulty.before_delete = crash
    with pytest.raises(SystemExit):
        put(site, tenant, "k", b"new")
    site.service.close()
    site.faulty.before_delete = lambda module_data: None
    site.service = site.open_service()
    assert b"new" == get(site, tenant, "k")
    assert 2 == len(site.files("shared"))
    assert 1 == site.service.maintain()
    assert 1 == len(site.files("shared"))
    assert 0 == site.service.maintain()


@pytest.mark.parametrize("error", [Unavailable("away"), RuntimeError("a vendor's bug")])
def test_a_module_that_cannot_delete_now_is_asked_again(
    site: Site, tenant: Tenant, error: Exception
) -> None:
    put(site, tenant, "k", b"data")

    def fail(module_data: str) -> None:
        raise error

    site.faulty.before_delete = fail
    site.service.delete_object(tenant, "photos", "k")
    assert 0 == site.service.maintain()
    assert 1 == len(site.files("shared"))
    site.faulty.before_delete = lambda module_data: None
    assert 1 == site.service.maintain()
    assert [] == site.files("shared")


def test_the_row_is_durable_before_the_module_deletes(site: Site, tenant: Tenant) -> None:
    put(site, tenant, "k", b"old")
    seen: list[tuple[int, int]] = []

    def look(module_data: str) -> None:
        connection = sqlite3.connect(site.root / "shared.db")
        (blobs,) = connection.execute(
            "SELECT count(*) FROM blob WHERE module_data = ?", (module_data,)
        ).fetchone()
        (pending,) = connection.execute(
            "SELECT count(*) FROM pending_delete WHERE module_data = ?", (module_data,)
        ).fetchone()
        connection.close()
        seen.append((blobs, pending))

    site.faulty.before_delete = look
    put(site, tenant, "k", b"new")
    assert [(0, 1)] == seen


def test_data_that_vanished_is_damage_not_absence(site: Site, tenant: Tenant) -> None:
    put(site, tenant, "k", b"data")
    for file in site.files("shared"):
        file.unlink()
    with pytest.raises(IntegrityError, match="missing from the storage module"):
        get(site, tenant, "k")
    assert 4 == site.service.head_object(tenant, "photos", "k").size_bytes


class Misbehaving(StorageModule):
    """A vendor's module that breaks the contract."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how
        self.deleted: list[str] = []

    def put(self, context: Context, stream: SupportsRead) -> str:
        if self.how == "raises":
            raise KeyError("oops")
        if self.how == "swallows":
            try:
                stream.read(10)
            except ConnectionResetError:
                return "data"
        if self.how != "reads nothing":
            while stream.read(100):
                pass
        return {"empty": "", "nul": "a\0b", "none": None}.get(self.how, "data")  # type: ignore[return-value]

    def delete(self, context: Context, module_data: str) -> None:
        self.deleted.append(module_data)


@pytest.mark.parametrize("how", ["raises", "reads nothing", "empty", "nul", "none"])
def test_a_module_that_breaks_the_contract(site: Site, how: str) -> None:
    site.modules["bad"] = module = Misbehaving(how)
    tenant = site.tenant("bad")
    site.service.create_bucket(tenant, "photos")
    with pytest.raises(SubstrateError, match="module check"):
        put(site, tenant, "k", b"data", content_length=None)
    with pytest.raises(ObjectNotFound):
        site.service.head_object(tenant, "photos", "k")
    assert (["data"] if how == "reads nothing" else []) == module.deleted


def test_a_module_that_swallows_the_streams_error(site: Site) -> None:
    class Broken(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            raise ConnectionResetError("the client is gone")

    site.modules["bad"] = module = Misbehaving("swallows")
    tenant = site.tenant("bad")
    site.service.create_bucket(tenant, "photos")
    with pytest.raises(ConnectionResetError):
        site.service.put_object(
            tenant, "photos", "k", Broken(), content_length=None, content_type=None
        )
    assert ["data"] == module.deleted


def test_sweep_is_refused_when_a_module_is_not_loaded(site: Site) -> None:
    tenant = site.tenant("volumes")
    site.service.create_bucket(tenant, "photos")
    put(site, tenant, "k", b"data")
    site.modules["renamed"] = site.modules["volumes"]
    moved = Tenant(tenant.name, "renamed")
    with pytest.raises(Conflict, match="volumes"):
        site.service.sweep(moved, "photos", older_than=timedelta(0))
    del site.modules["volumes"]
    with pytest.raises(Unavailable, match="not loaded"):
        site.service.sweep(moved, "photos", older_than=timedelta(0))


def test_a_bucket_whose_deletion_fails_is_gone_and_can_be_deleted_again(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner = site.tenant("volumes")
    site.service.create_bucket(owner, "photos")
    volumes = site.modules["volumes"].volumes  # type: ignore[attr-defined]

    def fail(self: object, uuid: str) -> None:
        raise Busy("injected")

    with monkeypatch.context() as patch:
        patch.setattr(type(volumes), "delete_volume", fail)
        with pytest.raises(Busy):
            site.service.delete_bucket(owner, "photos")
        with pytest.raises(Busy):
            site.service.create_bucket(owner, "photos")
    with pytest.raises(VolumeNotFound):
        site.service.get_bucket(owner, "photos")
    with pytest.raises(VolumeNotFound):
        put(site, owner, "k", b"data")
    site.service.delete_bucket(owner, "photos")
    site.service.create_bucket(owner, "photos")
    put(site, owner, "k", b"data")


def test_who_deletes_late_leaves_the_next_bucket_of_the_name_alone(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One DELETE is stuck before its second step; meanwhile another is done, and a bucket made."""
    owner = site.tenant("volumes")
    site.service.create_bucket(owner, "photos")
    other = site.open_service()
    volumes = site.modules["volumes"].volumes  # type: ignore[attr-defined]
    real = type(volumes).delete_volume

    def be_overtaken(self: object, uuid: str) -> None:
        monkeypatch.setattr(type(volumes), "delete_volume", real)
        other.delete_bucket(owner, "photos")
        other.create_bucket(owner, "photos")
        put(site, owner, "k", b"data")
        real(self, uuid)

    monkeypatch.setattr(type(volumes), "delete_volume", be_overtaken)
    with pytest.raises(VolumeNotFound):
        site.service.delete_bucket(owner, "photos")
    assert b"data" == get(site, owner, "k")
    other.close()


def test_who_fails_to_delete_does_not_open_the_bucket_for_the_other(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two DELETEs at once; one fails, and what is put then must not go to the trash."""
    owner = site.tenant("volumes")
    site.service.create_bucket(owner, "photos")
    other = site.open_service()
    volumes = site.modules["volumes"].volumes  # type: ignore[attr-defined]
    real = type(volumes).delete_volume

    def fail(self: object, uuid: str) -> None:
        raise Busy("injected")

    def be_overtaken(self: object, uuid: str) -> None:
        monkeypatch.setattr(type(volumes), "delete_volume", fail)
        with pytest.raises(Busy):
            other.delete_bucket(owner, "photos")
        with pytest.raises(VolumeNotFound):
            put(site, owner, "k", b"data")
        other.close()
        real(self, uuid)

    monkeypatch.setattr(type(volumes), "delete_volume", be_overtaken)
    site.service.delete_bucket(owner, "photos")
    with pytest.raises(VolumeNotFound):
        site.service.get_bucket(owner, "photos")


@pytest.mark.parametrize("policy", ["volumes", "shared"])
def test_a_crash_while_a_bucket_is_deleted(site: Site, policy: str) -> None:
    owner = site.tenant(policy)
    site.service.create_bucket(owner, "trips")
    with site.service._open(owner, "trips") as opened:
        opened.index.begin_delete()
    with pytest.raises(VolumeNotFound):
        site.service.get_bucket(owner, "trips")
    with pytest.raises(VolumeNotFound):
        site.service.put_object(
            owner, "trips", "k", io.BytesIO(), content_length=0, content_type=None
        )
    assert [] == site.files(policy)
    site.service.create_bucket(owner, "trips")
    site.service.put_object(owner, "trips", "k", io.BytesIO(), content_length=0, content_type=None)


def test_a_bucket_with_deletions_left_is_finished_first(site: Site, tenant: Tenant) -> None:
    put(site, tenant, "k", b"data")

    def fail(module_data: str) -> None:
        raise Unavailable("away")

    site.faulty.before_delete = fail
    site.service.delete_object(tenant, "photos", "k")
    with pytest.raises(Busy):
        site.service.delete_bucket(tenant, "photos")
    site.faulty.before_delete = lambda module_data: None
    site.service.delete_bucket(tenant, "photos")
    assert [] == site.files("shared")
