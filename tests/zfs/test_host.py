"""The whole host on real datasets: two workers, tenants and buckets over HTTP."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.faults.filling import check_full_tenant
from tests.host.serving import Server, path_of
from tests.zfs.datasets import STORE_ARGUMENTS, zfs

pytestmark = pytest.mark.zfs


def is_dataset(name: str) -> bool:
    return name in zfs("list", "-H", "-o", "name").splitlines()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, root_dataset: str) -> Iterator[Server]:
    running = Server(tmp_path_factory.mktemp("host") / "data", workers=2).start()
    yield running
    assert running.stop() == 0


def test_a_tenants_buckets_are_datasets(server: Server, root_dataset: str) -> None:
    admin = server.client()
    spec = {"module": "zfsstore.ZFSStorage", "args": {"dataset": root_dataset, **STORE_ARGUMENTS}}
    assert admin.put_json("/cdmi/system_configuration/vendor_modules/tank", spec).status == 204
    made = admin.put_json("/cdmi/system_configuration/users/acme", {"policy": "tank"})
    assert is_dataset(f"{root_dataset}/acme")

    clients = [server.client("acme", made.json()["password"]) for _ in range(8)]
    assert clients[0].put(path_of("photos", is_container=True)).status == 201
    assert is_dataset(f"{root_dataset}/acme/photos")
    for number, client in enumerate(clients):  # so that both workers open the index
        assert client.put(path_of("photos", str(number)), b"data %d" % number).status == 201
    for number, client in enumerate(reversed(clients)):
        assert client.get(path_of("photos", str(number))).body == b"data %d" % number
    for number, client in enumerate(clients):
        assert client.delete(path_of("photos", str(number))).status == 204
    assert clients[0].delete(path_of("photos", is_container=True)).status == 204
    assert not is_dataset(f"{root_dataset}/acme/photos")


def test_a_full_tenant_gets_507_and_stays_usable(server: Server, root_dataset: str) -> None:
    check_full_tenant(server, {"dataset": root_dataset, **STORE_ARGUMENTS})
