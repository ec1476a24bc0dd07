"""The same operations on datasets, and snapshots that somebody takes with zfs itself."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.faults import operations
from tests.faults.operations import LoadedSite
from tests.host.serving import Server
from tests.zfs.datasets import zfs
from zfsstore.host.catalog import Tenant
from zfsstore.host.config import Config
from zfsstore.host.services import open_services

pytestmark = [pytest.mark.zfs, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, root_dataset: str) -> Iterator[LoadedSite]:
    server = Server(tmp_path_factory.mktemp("loaded") / "data", workers=4).start()
    try:
        admin = server.client()
        spec = {"module": "zfsstore.ZFSStorage", "args": {"dataset": root_dataset}}
        assert admin.put_json("/cdmi/system_configuration/vendor_modules/tank", spec).status == 204
        made = admin.put_json("/cdmi/system_configuration/users/acme", {"policy": "tank"})
        password = made.json()["password"]
        tenant = Tenant("acme", "tank")
        with open_services(Config(data_dir=server.data_dir)) as services:
            loaded = LoadedSite(
                server,
                services,
                lambda: server.client("acme", password),
                tenant,
                count=5,
                clients=4,  # one for each worker: an emulated processor has enough with those
            )
            yield loaded
    finally:
        status = server.stop()
    assert status == 0
    operations.check_at_rest(loaded)


def test_rollback(site: LoadedSite) -> None:
    operations.roll_back(site, "back")


def test_rename(site: LoadedSite) -> None:
    operations.rename(site, "moved")


def test_receive(site: LoadedSite) -> None:
    operations.receive(site, "origin")


def test_snapshots_by_hand(site: LoadedSite, root_dataset: str) -> None:
    def take(volume: str, name: str) -> None:
        zfs("snapshot", f"{root_dataset}/{volume}@{name}")

    operations.snapshots_in_a_loop(site, "frozen", take, rounds=5)
    for number in range(5):  # nobody keeps them open
        zfs("destroy", f"{root_dataset}/{site.name('frozen')}@s{number}")


def test_a_replica(site: LoadedSite) -> None:
    operations.replicate(site, "sent")
