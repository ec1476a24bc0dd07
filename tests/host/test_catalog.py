"""The catalog: what is written is there for every process, and names in use stay."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from modules.errors import (
    ConfigurationError,
    Conflict,
    HasDependents,
    NotFound,
    NotSupported,
    Unavailable,
)
from zfsstore.host.catalog import Catalog, Role, Tenant, User, VendorModule, inner_names

DEFAULT = VendorModule(
    "default",
    "simple.simple.SimpleStorage",
    "label",
    {"a": [1, None, "ü"]},
    ("/x.egg",),
    {"/x": "d"},
)


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "postgresql":
        url: str = request.getfixturevalue("postgresql_url")
        return url
    return f"sqlite:///{tmp_path}/catalog.db"


@pytest.fixture
def catalog(url: str) -> Iterator[Catalog]:
    opened = Catalog(url)
    yield opened
    opened.close()


def test_everything_reads_back(catalog: Catalog) -> None:
    tenant = Tenant("acme", "default", 2**40)
    user = User("bob", "acme", "hash", Role.ADMINISTRATOR)
    catalog.set_module(DEFAULT)
    catalog.set_tenant(tenant)
    catalog.set_user(user)
    assert (catalog.get_module("default"), catalog.list_modules()) == (DEFAULT, [DEFAULT])
    assert (catalog.get_tenant("acme"), catalog.list_tenants()) == (tenant, [tenant])
    assert (catalog.get_user("bob"), catalog.list_users()) == (user, [user])


def test_every_change_makes_a_new_revision(catalog: Catalog) -> None:
    seen = [catalog.revision()]

    def has_grown() -> bool:
        seen.append(catalog.revision())
        return seen[-1] > seen[-2]

    catalog.set_module(DEFAULT)
    assert has_grown()
    catalog.set_tenant(Tenant("acme", "default"))
    assert has_grown()
    catalog.set_user(User("bob", "acme", "hash"))
    assert has_grown()
    catalog.set_user(User("bob", "acme", "another hash"))
    assert has_grown()
    catalog.set_code_digests("default", {})
    catalog.set_key_value("k", "v")
    assert not has_grown()
    catalog.delete_user("bob")
    assert has_grown()
    catalog.delete_tenant("acme")
    assert has_grown()
    catalog.delete_module("default")
    assert has_grown()


def test_another_process_sees_the_revision(catalog: Catalog, url: str) -> None:
    other = Catalog(url)
    before = other.revision()
    catalog.set_module(DEFAULT)
    assert other.revision() > before
    other.close()


def test_names_in_use_stay(catalog: Catalog) -> None:
    catalog.set_module(DEFAULT)
    catalog.set_module(VendorModule("wrapper", "a.b.C", "", {"tiers": [{"inner": "default"}]}))
    catalog.set_tenant(Tenant("acme", "wrapper"))
    catalog.set_user(User("bob", "acme", "hash"))
    for delete, named in (
        (lambda: catalog.delete_module("default"), "wrapper"),
        (lambda: catalog.delete_module("wrapper"), "acme"),
        (lambda: catalog.delete_tenant("acme"), "bob"),
    ):
        with pytest.raises(HasDependents, match=named):
            delete()
    catalog.delete_user("bob")
    catalog.delete_tenant("acme")
    catalog.delete_module("wrapper")
    catalog.delete_module("default")


def test_the_last_administrator_stays(catalog: Catalog) -> None:
    catalog.set_module(DEFAULT)
    catalog.set_tenant(Tenant("acme", "default"))
    catalog.set_user(User("one", "acme", "hash", Role.ADMINISTRATOR))
    catalog.set_user(User("two", "acme", "hash", Role.ADMINISTRATOR))
    catalog.delete_user("one")
    with pytest.raises(Conflict):
        catalog.delete_user("two")


def test_unknown_names(catalog: Catalog) -> None:
    for call in (
        catalog.get_module, catalog.get_tenant, catalog.get_user,
        catalog.delete_module, catalog.delete_tenant, catalog.delete_user,
    ):  # fmt: skip
        with pytest.raises(NotFound, match="absent"):
            call("absent")
    with pytest.raises(NotFound, match="absent"):
        catalog.set_tenant(Tenant("acme", "absent"))
    with pytest.raises(NotFound, match="absent"):
        catalog.set_user(User("bob", "absent", "hash"))


def test_key_values(catalog: Catalog) -> None:
    assert catalog.get_key_value("k") is None
    catalog.set_key_value("k", "one")
    catalog.set_key_value("k", "")
    assert catalog.get_key_value("k") == ""
    catalog.delete_key_value("k")
    catalog.delete_key_value("k")
    assert catalog.get_key_value("k") is None


def test_many_writers_at_once(catalog: Catalog, url: str) -> None:
    catalog.set_module(DEFAULT)
    before = catalog.revision()
    errors: list[Exception] = []

    def write(number: int) -> None:
        try:
            own = Catalog(url)
            for serial in range(10):
                own.set_tenant(Tenant(f"{number}-{serial}", "default"))
            own.close()
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert (len(catalog.list_tenants()), catalog.revision()) == (40, before + 40)


def test_lists_are_in_the_order_of_code_points(catalog: Catalog) -> None:
    """A database that sorts as people do would put "b" before "C"."""
    catalog.set_module(DEFAULT)
    names = ["C", "a", "b", "b-a", "bB", "\u00e4"]
    for name in reversed(names):
        catalog.set_tenant(Tenant(name, "default"))
    assert [tenant.name for tenant in catalog.list_tenants()] == names


def test_two_writers_of_one_name_at_once(catalog: Catalog, url: str) -> None:
    catalog.set_module(DEFAULT)
    catalogs = [Catalog(url) for _ in range(4)]
    barrier = threading.Barrier(len(catalogs))
    errors: list[Exception] = []

    def write(own: Catalog, number: int) -> None:
        try:
            for serial in range(10):
                barrier.wait(30)
                own.set_tenant(Tenant(f"t{serial}", "default", number + 1))
                own.set_key_value(f"k{serial}", str(number))
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=write, args=(c, n)) for n, c in enumerate(catalogs)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for own in catalogs:
        own.close()
    assert not errors
    assert len(catalog.list_tenants()) == 10


def test_two_administrators_who_delete_each_other(catalog: Catalog, url: str) -> None:
    catalog.set_module(DEFAULT)
    catalog.set_tenant(Tenant("acme", "default"))
    other = Catalog(url)
    refused: list[Conflict] = []

    def delete(own: Catalog, name: str, barrier: threading.Barrier) -> None:
        barrier.wait(30)
        try:
            own.delete_user(name)
        except Conflict as error:
            refused.append(error)

    for _ in range(10):
        for name in ("one", "two"):
            catalog.set_user(User(name, "acme", "hash", Role.ADMINISTRATOR))
        barrier = threading.Barrier(2)
        threads = [
            threading.Thread(target=delete, args=(own, name, barrier))
            for own, name in ((catalog, "one"), (other, "two"))
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(catalog.list_users()) == 1
    assert len(refused) == 10
    other.close()


def test_a_newer_catalog_is_refused(catalog: Catalog, url: str) -> None:
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text("UPDATE state SET value = 99 WHERE name = 'schema'"))
    engine.dispose()
    with pytest.raises(NotSupported, match="99"):
        Catalog(url)


def test_a_refused_catalog_is_closed(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/catalog.db"
    Catalog(url).close()
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text("UPDATE state SET value = 99 WHERE name = 'schema'"))
    engine.dispose()
    with pytest.raises(NotSupported) as refused:
        Catalog(url)
    descriptors = [os.readlink(fd) for fd in Path("/proc/self/fd").iterdir() if fd.is_symlink()]
    assert [name for name in descriptors if name.startswith(str(tmp_path))] == []
    assert refused.value.capability == "schema_version"


def test_wrong_urls(tmp_path: Path) -> None:
    for url in ("nonsense", "oracle://x/y", "madeup://x"):
        with pytest.raises(ConfigurationError):
            Catalog(url)
    with pytest.raises(Unavailable, match="catalog"):
        Catalog(f"sqlite:///{tmp_path}/absent/catalog.db")
    (tmp_path / "garbage.db").write_bytes(b"no database" * 1000)
    with pytest.raises(Unavailable):
        Catalog(f"sqlite:///{tmp_path}/garbage.db")


def test_inner_names() -> None:
    args = {"inner": ["a", {"name": "b"}], "x": {"y": {"inner": "c"}}, "label": "d"}
    assert inner_names(args) == {"a", "b", "c"}
