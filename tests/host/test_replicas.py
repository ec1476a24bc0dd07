"""A received volume: it can be read as it is, and nothing a client does changes it."""

from __future__ import annotations

import io

import pytest

from modules.errors import Conflict
from modules.volumes import OperatorBackend
from tests.host.objectservice import Site, put
from zfsstore.host.backends import find_volume
from zfsstore.host.catalog.records import Tenant


@pytest.fixture
def tenant(site: Site) -> Tenant:
    owner = site.tenant("volumes")
    site.service.create_bucket(owner, "photos")
    return owner


def send(site: Site, tenant: Tenant, name: str, base: str | None = None) -> None:
    """Freeze the bucket "photos", and bring its replica to that."""
    volumes = site.modules["volumes"].volumes  # type: ignore[attr-defined]
    origin = find_volume(volumes, f"{tenant.name}/photos")
    assert isinstance(volumes, OperatorBackend)
    assert origin is not None
    volumes.create_snapshots([origin["uuid"]], name)
    with volumes.send_stream(origin["name"], name, base) as stream:  # type: ignore[attr-defined]
        volumes.receive_stream(f"{tenant.name}/replica", stream)  # type: ignore[attr-defined]


def keys(site: Site, tenant: Tenant, snapshot: str | None = None) -> list[str]:
    page = site.service.list_children(tenant, "replica", snapshot=snapshot)
    return [item.key for item in page.items]


def test_it_is_read_and_brought_up_to_date(site: Site, tenant: Tenant) -> None:
    put(site, tenant, "a", b"data")
    send(site, tenant, "one")
    assert ["a"] == keys(site, tenant)
    put(site, tenant, "b", b"data")
    send(site, tenant, "two", "one")
    assert ["a", "b"] == keys(site, tenant)
    assert ["a"] == keys(site, tenant, "one")
    _version, stream = site.service.open_object(tenant, "replica", "b")
    with stream:
        assert b"data" == stream.read()


def test_nothing_changes_it_until_it_is_broken_off(site: Site, tenant: Tenant) -> None:
    service = site.service
    put(site, tenant, "a", b"data")
    send(site, tenant, "one")

    def put_there() -> None:
        service.put_object(
            tenant, "replica", "k", io.BytesIO(b"x"), content_length=1, content_type=None
        )

    for change in (
        put_there,
        lambda: service.delete_object(tenant, "replica", "a"),
        lambda: service.create_container(tenant, "replica", "c/"),
        lambda: service.delete_bucket(tenant, "replica"),
    ):
        with pytest.raises(Conflict, match="read-only replica"):
            change()
    assert 0 == service.maintain()
    send(site, tenant, "two", "one")
    volumes = site.modules["volumes"].volumes  # type: ignore[attr-defined]
    replica = find_volume(volumes, f"{tenant.name}/replica")
    assert replica is not None
    volumes.break_off_volume(replica["uuid"])
    put_there()
    assert ["a", "k"] == keys(site, tenant)
