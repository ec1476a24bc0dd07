"""Giving up older keys, through the service: beside writers, and cut off at any moment."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from modules.context import Context
from modules.errors import Busy, NotSupported, SubstrateError
from modules.streams import ReadStream
from tests.host.objectservice import Site, get, put
from zfsstore import ZFSStorage
from zfsstore.host import rewrapping
from zfsstore.host.catalog.records import Tenant


class Keyed(ZFSStorage):
    """Its module_data ends in the version of the key that it needs."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory=str(directory), headroom_bytes=0)
        self.newest = 1
        self.before: Callable[[str], None] = lambda module_data: None
        self.kept = [1, 1]

    def put(self, context: Context, stream: object) -> str:
        return f"{super().put(context, stream)};{self.newest}"  # type: ignore[arg-type]

    def get_read_stream(self, context: Context, module_data: str) -> ReadStream:
        return super().get_read_stream(context, module_data.partition(";")[0])

    def delete(self, context: Context, module_data: str) -> None:
        super().delete(context, module_data.partition(";")[0])

    def rewrap(self, context: Context, module_data: str) -> str:
        self.before(module_data)
        return f"{module_data.partition(';')[0]};{self.newest}"

    def rewrap_kept(self, context: Context) -> Iterator[bool]:
        for number, version in enumerate(self.kept):
            self.kept[number] = self.newest
            yield version != self.newest


@pytest.fixture
def module(site: Site) -> Keyed:
    made = Keyed(site.root / "keyed")
    made.volumes.create_volume("keyed-tenant")
    site.modules["keyed"] = made
    return made


@pytest.fixture
def tenant(site: Site, module: Keyed) -> Tenant:
    owner = site.tenant("keyed")
    site.service.create_bucket(owner, "photos")
    for number in range(5):
        put(site, owner, f"k{number}", b"data %d" % number)
    module.newest = 2
    return owner


def versions(site: Site, tenant: Tenant) -> list[str]:
    return [data[-1] for data in site.service.stored(tenant, "photos", "keyed")]


def test_all_is_rewrapped_once(site: Site, tenant: Tenant) -> None:
    told: list[int] = []
    report = site.service.rewrapping.rewrap(tenant, "photos", progress=told.append)
    assert (7, 7, 0) == (report.seen, report.rewrapped, report.failed)
    assert 7 == sum(told)
    assert ["2"] * 5 == versions(site, tenant)
    assert b"data 3" == get(site, tenant, "k3")
    assert 0 == site.service.rewrapping.rewrap(tenant, "photos").rewrapped


def test_what_is_deleted_or_replaced_meanwhile_is_left_alone(
    site: Site, tenant: Tenant, module: Keyed
) -> None:
    def interfere(module_data: str) -> None:
        module.before = lambda module_data: None
        site.service.delete_object(tenant, "photos", "k1")
        put(site, tenant, "k2", b"replaced")

    module.before = interfere
    report = site.service.rewrapping.rewrap(tenant, "photos")
    assert 2 + 3 == report.rewrapped
    assert ["2"] * 4 == versions(site, tenant)
    assert b"replaced" == get(site, tenant, "k2")
    assert 4 == len(site.files("keyed"))


def test_who_wants_to_be_alone_comes_first_and_the_rest_is_done_later(
    site: Site, tenant: Tenant, module: Keyed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rewrapping, "_BATCH", 2)
    calls: list[str] = []

    def stop(module_data: str) -> None:
        calls.append(module_data)
        if len(calls) == 4:
            raise Busy("somebody waits", operation="use volume")

    module.before = stop
    with pytest.raises(Busy):
        site.service.rewrapping.rewrap(tenant, "photos")
    assert ["1", "1", "1", "2", "2"] == sorted(versions(site, tenant))
    assert 3 == site.service.rewrapping.rewrap(tenant, "photos").rewrapped


def test_what_cannot_be_opened_is_reported(site: Site, tenant: Tenant, module: Keyed) -> None:
    def fail(module_data: str) -> None:
        if module_data == damaged:
            raise SubstrateError("it is damaged", operation="open", subject="it")

    damaged = site.service.stored(tenant, "photos", "keyed")[2]
    module.before = fail
    report = site.service.rewrapping.rewrap(tenant, "photos")
    assert (1, 6) == (report.failed, report.rewrapped)
    assert report.failures[0].startswith(damaged)


def test_a_module_without_keys_is_refused(site: Site) -> None:
    owner = site.tenant("volumes")
    site.service.create_bucket(owner, "photos")
    with pytest.raises(NotSupported):
        site.service.rewrapping.rewrap(owner, "photos")
