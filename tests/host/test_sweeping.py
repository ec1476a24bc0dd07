"""Sweeps through the service: what counts as missing."""

from __future__ import annotations

from datetime import timedelta

import pytest

from modules.extensions import SweepReport
from tests.host.objectservice import Site, put
from zfsstore.host.catalog.records import Tenant
from zfsstore.host.namespace.index import Index


@pytest.fixture
def tenant(site: Site) -> Tenant:
    owner = site.tenant("volumes")
    site.service.create_bucket(owner, "photos")
    return owner


def sweep(site: Site, tenant: Tenant) -> SweepReport:
    return site.service.sweep(tenant, "photos", older_than=timedelta(0))


def test_data_that_a_key_needs_is_missing_when_its_file_is_gone(site: Site, tenant: Tenant) -> None:
    put(site, tenant, "k", b"data")
    (file,) = site.files("volumes")
    file.unlink()

    assert (f"z1:main:{file.name}",) == sweep(site, tenant).missing


def test_a_deletion_that_was_carried_out_and_not_forgotten_is_not_missing(
    site: Site, tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(site, tenant, "k", b"data")
    monkeypatch.setattr(Index, "forget_pending", lambda self, done: None)  # a crash came between
    site.service.delete_object(tenant, "photos", "k")

    assert [] == site.files("volumes")
    assert () == sweep(site, tenant).missing
