"""Rollback, rename, receive and snapshots of buckets that four processes are writing to."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.faults import operations
from tests.faults.operations import LoadedSite
from tests.host.serving import Server
from zfsstore.host.catalog import Tenant
from zfsstore.host.config import Config
from zfsstore.host.services import open_services

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoadedSite]:
    server = Server(tmp_path_factory.mktemp("loaded") / "data", workers=4).start()
    tenant = Tenant("administrator", "default")
    try:
        with open_services(Config(data_dir=server.data_dir)) as services:
            made = LoadedSite(server, services, server.client, tenant)
            yield made
    finally:
        status = server.stop()
    assert status == 0
    operations.check_at_rest(made)


def test_rollback(site: LoadedSite) -> None:
    operations.roll_back(site, "rolled back")


def test_rename(site: LoadedSite) -> None:
    operations.rename(site, "moved")


def test_receive(site: LoadedSite) -> None:
    operations.receive(site, "origin")


def test_snapshots_in_a_loop(site: LoadedSite) -> None:
    def take(volume: str, name: str) -> None:
        site.services.volumes.create_snapshot(volume, name)

    operations.snapshots_in_a_loop(site, "frozen", take, rounds=3)


def test_a_replica(site: LoadedSite) -> None:
    operations.replicate(site, "replicated")
