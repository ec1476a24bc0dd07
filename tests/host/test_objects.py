from __future__ import annotations

import io
import os
import threading
from datetime import timedelta
from typing import Any

import pytest

from modules.errors import (
    Conflict,
    HasDependents,
    InvalidArgument,
    InvalidName,
    NotFound,
    NotSupported,
    ObjectNotFound,
    StorageError,
    TruncatedStream,
    VolumeExists,
    VolumeNotFound,
)
from tests.host.objectservice import Site, get, put
from tests.host.on_datasets import is_wanted
from zfsstore.host.catalog.records import Tenant
from zfsstore.host.errors import PreconditionFailed
from zfsstore.host.namespace.records import Conditions
from zfsstore.host.objects import ObjectService


@pytest.fixture
def service(site: Site) -> ObjectService:
    return site.service


@pytest.fixture(params=["volumes"] if is_wanted() else ["volumes", "shared"])
def policy(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def tenant(site: Site, policy: str) -> Tenant:
    owner = site.tenant(policy)
    site.service.create_bucket(owner, "photos")
    return owner


def test_an_object_comes_back(site: Site, tenant: Tenant) -> None:
    data = os.urandom(70_000)
    result = put(site, tenant, "ä/b", data, content_type="image/png", require_parent=False)
    assert result.created
    version = site.service.head_object(tenant, "photos", "ä/b")
    assert result.version == version
    assert (70_000, "image/png") == (version.size_bytes, version.content_type)
    assert data == get(site, tenant, "ä/b")


def test_an_object_of_unknown_length(site: Site, tenant: Tenant) -> None:
    put(site, tenant, "k", b"data", content_length=None)
    assert b"data" == get(site, tenant, "k")
    put(site, tenant, "empty", b"")
    assert b"" == get(site, tenant, "empty")


def test_a_replaced_object_leaves_no_file(site: Site, tenant: Tenant, policy: str) -> None:
    for number in range(3):
        put(site, tenant, "k", b"%d" % number)
    assert b"2" == get(site, tenant, "k")
    assert 1 == len(site.files(policy))
    site.service.delete_object(tenant, "photos", "k")
    assert [] == site.files(policy)
    with pytest.raises(ObjectNotFound):
        get(site, tenant, "k")


def test_objects_come_and_go_without_a_call_to_the_volumes(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On ZFS each of those starts processes."""
    tenant = site.tenant("volumes")
    site.service.create_bucket(tenant, "photos")

    def refuse(*arguments: object, **keywords: object) -> None:
        raise AssertionError(f"the data path asked the volumes: {arguments} {keywords}")

    for name in dir(site.store.volumes):
        if not name.startswith("_") and name not in ("capabilities", "patience_s"):
            monkeypatch.setattr(site.store.volumes, name, refuse)
    site.service.close()
    site.service = site.open_service()  # one that has to find and open the bucket first
    with pytest.raises(AssertionError, match="asked the volumes"):
        site.service.list_buckets(tenant)
    for data in (b"data", b"replaced"):
        put(site, tenant, "k", data)
        assert data == get(site, tenant, "k")
    assert 1 == len(site.service.list_children(tenant, "photos").items)
    site.service.delete_object(tenant, "photos", "k")
    with pytest.raises(ObjectNotFound):
        site.service.head_object(tenant, "photos", "k")


def test_the_module_is_told_whose_data_it_is(site: Site) -> None:
    tenant = site.tenant("shared")
    site.service.create_bucket(tenant, "photos")
    put(site, tenant, "k", b"data")
    put(site, tenant, "l", b"data", content_length=None)
    known, unknown = site.faulty.contexts
    assert ("shared-tenant/photos", 4) == (known["tenant"], known["content_length"])
    assert callable(known["func"]["getModule"])
    assert "content_length" not in unknown


@pytest.mark.parametrize("length", [3, 5])
def test_a_wrong_length_stores_nothing(
    site: Site, tenant: Tenant, policy: str, length: int
) -> None:
    with pytest.raises(TruncatedStream):
        put(site, tenant, "k", b"data", content_length=length)
    assert [] == site.files(policy)
    with pytest.raises(ObjectNotFound):
        site.service.head_object(tenant, "photos", "k")


def test_a_stream_that_breaks_stores_nothing(site: Site, tenant: Tenant, policy: str) -> None:
    class Broken(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            if self.tell():
                raise ConnectionResetError("the client is gone")
            return super().read(10)

    with pytest.raises(ConnectionResetError):
        site.service.put_object(
            tenant, "photos", "k", Broken(b"x" * 100), content_length=100, content_type=None
        )
    assert [] == site.files(policy)


def test_a_condition_is_looked_at_before_the_upload(
    site: Site, tenant: Tenant, policy: str
) -> None:
    class Unread(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            raise AssertionError("nothing is to be read")

    put(site, tenant, "k", b"old")
    with pytest.raises(PreconditionFailed):
        site.service.put_object(
            tenant,
            "photos",
            "k",
            Unread(),
            content_length=None,
            content_type=None,
            conditions=Conditions(if_none_match=("*",)),
        )
    assert b"old" == get(site, tenant, "k")


def test_a_condition_that_fails_during_the_upload(site: Site, tenant: Tenant, policy: str) -> None:
    class Overtaken(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            if not self.tell():
                put(site, tenant, "k", b"faster")
            return super().read(size)

    with pytest.raises(PreconditionFailed):
        site.service.put_object(
            tenant,
            "photos",
            "k",
            Overtaken(b"slower"),
            content_length=6,
            content_type=None,
            conditions=Conditions(if_none_match=("*",)),
        )
    assert b"faster" == get(site, tenant, "k")
    assert 1 == len(site.files(policy))


def test_delete_on_condition(site: Site, tenant: Tenant) -> None:
    etag = put(site, tenant, "k", b"data").version.etag
    with pytest.raises(PreconditionFailed):
        site.service.delete_object(
            tenant, "photos", "k", conditions=Conditions(if_match=("other",))
        )
    site.service.delete_object(tenant, "photos", "k", conditions=Conditions(if_match=(etag,)))
    with pytest.raises(ObjectNotFound):
        site.service.delete_object(tenant, "photos", "k")


def test_containers(site: Site, tenant: Tenant) -> None:
    service = site.service
    with pytest.raises(NotFound, match="create the container first"):
        put(site, tenant, "a/k", b"")
    with pytest.raises(NotFound):
        service.create_container(tenant, "photos", "a/b/")
    assert service.create_container(tenant, "photos", "a/")
    assert not service.create_container(tenant, "photos", "a/")
    put(site, tenant, "a/k", b"")
    with pytest.raises(Conflict):
        put(site, tenant, "a", b"")
    with pytest.raises(ObjectNotFound):
        service.head_object(tenant, "photos", "a/")
    assert service.container_exists(tenant, "photos", "a/")
    with pytest.raises(HasDependents):
        service.delete_container(tenant, "photos", "a/")
    service.delete_object(tenant, "photos", "a/k")
    service.delete_container(tenant, "photos", "a/")
    assert not service.container_exists(tenant, "photos", "a/")


def test_children_are_listed_without_the_container_itself(site: Site, tenant: Tenant) -> None:
    service = site.service
    for container in ("a/", "a/c/"):
        service.create_container(tenant, "photos", container)
    for key in ("a/1", "a/2", "a/c/3", "b"):
        put(site, tenant, key, b"")
    top = service.list_children(tenant, "photos")
    assert ["a/", "b"] == [item.key for item in top.items]
    page = service.list_children(tenant, "photos", "a/", limit=2)
    assert ["a/1", "a/2"] == [item.key for item in page.items]
    rest = service.list_children(tenant, "photos", "a/", after=page.next_after)
    assert ["a/c/"] == [item.key for item in rest.items]
    every = service.list_children(tenant, "photos", "", delimiter="")
    assert ["a/", "a/1", "a/2", "a/c/", "a/c/3", "b"] == [item.key for item in every.items]


def test_buckets(site: Site, policy: str) -> None:
    service, tenant = site.service, site.tenant(policy)
    other = Tenant(f"{policy}-tenant2", policy)
    if policy == "volumes":
        site.modules["volumes"].volumes.create_volume(other.name)  # type: ignore[attr-defined]
    names = ["b", "Ä", "a", "Z"]
    for name in names:
        created = service.create_bucket(tenant, name)
        assert created.created_at == service.get_bucket(tenant, name).created_at
    service.create_bucket(other, "theirs")
    with pytest.raises(VolumeExists):
        service.create_bucket(tenant, "a")
    assert ["Z", "a", "b", "Ä"] == [b.name for b in service.list_buckets(tenant).buckets]
    page = service.list_buckets(tenant, limit=2)
    assert (["Z", "a"], "a") == ([b.name for b in page.buckets], page.next_after)
    rest = service.list_buckets(tenant, after=page.next_after, limit=2)
    assert (["b", "Ä"], None) == ([b.name for b in rest.buckets], rest.next_after)
    service.delete_bucket(tenant, "a")
    with pytest.raises(VolumeNotFound):
        service.get_bucket(tenant, "a")
    with pytest.raises(VolumeNotFound):
        service.delete_bucket(tenant, "a")
    service.create_bucket(tenant, "a")


def test_a_quota_is_told(site: Site, policy: str) -> None:
    tenant = site.tenant(policy)
    site.service.create_bucket(tenant, "photos", quota_bytes=10 * 1024**3)
    (bucket,) = site.service.list_buckets(tenant).buckets
    assert 10 * 1024**3 == bucket.quota_bytes


@pytest.mark.parametrize("name", ["", "a/b", "..", "cdmi_x", "a\0"])
def test_bucket_names_that_are_refused(site: Site, policy: str, name: str) -> None:
    for call in (site.service.create_bucket, site.service.get_bucket, site.service.delete_bucket):
        with pytest.raises(InvalidName):
            call(site.tenant(policy), name)


def test_a_bucket_with_keys_is_not_deleted(site: Site, tenant: Tenant) -> None:
    put(site, tenant, "k", b"data")
    with pytest.raises(HasDependents, match="not empty"):
        site.service.delete_bucket(tenant, "photos")
    assert b"data" == get(site, tenant, "k")
    put(site, tenant, "l", b"data")


def test_a_deleted_and_recreated_bucket_is_empty(site: Site, tenant: Tenant) -> None:
    put(site, tenant, "k", b"data")
    site.service.delete_object(tenant, "photos", "k")
    site.service.delete_bucket(tenant, "photos")
    site.service.create_bucket(tenant, "photos")
    put(site, tenant, "l", b"new")
    assert ["l"] == [i.key for i in site.service.list_children(tenant, "photos").items]


def test_no_such_bucket(site: Site, policy: str) -> None:
    tenant = site.tenant(policy)
    with pytest.raises(VolumeNotFound):
        put(site, tenant, "k", b"")
    with pytest.raises(VolumeNotFound):
        site.service.list_children(tenant, "photos")


@pytest.mark.parametrize(
    ("key", "options", "expected"),
    [
        ("", {}, InvalidName),
        ("a\0b", {}, InvalidName),
        ("x" * 1025, {}, InvalidName),
        ("a/", {}, InvalidName),
        ("k", {"content_type": "a\0"}, InvalidArgument),
        ("k", {"metadata": {"a": object()}}, InvalidArgument),
        ("k", {"metadata": {"a": "x" * 70_000}}, InvalidArgument),
    ],
)
def test_input_that_is_refused(
    site: Site, tenant: Tenant, key: str, options: dict[str, Any], expected: type[StorageError]
) -> None:
    with pytest.raises(expected):
        put(site, tenant, key, b"", **options)


def test_readers_never_miss_an_object_that_is_replaced(site: Site, tenant: Tenant) -> None:
    put(site, tenant, "k", b"0" * 1000)
    stop = threading.Event()
    errors: list[BaseException] = []
    reads = [0]

    def read() -> None:
        try:
            while not stop.is_set():
                data = get(site, tenant, "k")
                assert 1000 == len(data)
                assert 1 == len(set(data))
                reads[0] += 1
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=read) for _ in range(2)]
    for thread in threads:
        thread.start()
    for number in range(50):
        put(site, tenant, "k", b"%d" % (number % 10) * 1000)
    stop.set()
    for thread in threads:
        thread.join()
    assert [] == errors
    assert reads[0] > 0


def test_sweep_finds_what_no_key_needs(site: Site) -> None:
    tenant = site.tenant("volumes")
    site.service.create_bucket(tenant, "photos")
    put(site, tenant, "k", b"data")
    module = site.modules["volumes"]
    stray = module.put({"tenant": "volumes-tenant/photos"}, io.BytesIO(b"stray"))
    report = site.service.sweep(tenant, "photos", older_than=timedelta(0))
    assert ((stray,), False) == (report.unreferenced, report.quarantined)
    report = site.service.sweep(tenant, "photos", older_than=timedelta(0), dry_run=False)
    assert ((stray,), True, ()) == (report.unreferenced, report.quarantined, report.missing)
    assert b"data" == get(site, tenant, "k")


def test_sweep_of_a_module_that_has_none(site: Site) -> None:
    tenant = site.tenant("shared")
    site.service.create_bucket(tenant, "photos")
    with pytest.raises(NotSupported):
        site.service.sweep(tenant, "photos", older_than=timedelta(0))
