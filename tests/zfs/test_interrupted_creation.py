"""A power cut after the first command of a creation: nothing shows; the next try completes it."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from modules.errors import VolumeExists
from tests.zfs.datasets import zfs
from tools.powercut.stores import Site
from zfsstore import ZFSStorage
from zfsstore.host.catalog.records import Tenant
from zfsstore.host.objects import ObjectService
from zfsstore.host.volumes import ensure_volume
from zfsstore.volumes.common import new_uuid
from zfsstore.volumes.datasets import creation_properties

pytestmark = pytest.mark.zfs


@pytest.fixture
def service(tmp_path: Path, store: ZFSStorage) -> Iterator[ObjectService]:
    with Site(str(tmp_path / "names.db")).service(store) as opened:
        yield opened


def interrupted(dataset: str) -> None:
    """Leave what a creation has done after its first command."""
    properties = creation_properties(new_uuid(), dataset.rpartition("/")[2], None)
    zfs("create", *(f"-o{name}={value}" for name, value in properties.items()), dataset)


def test_a_bucket(
    service: ObjectService, store: ZFSStorage, root_dataset: str, bucket: dict[str, Any]
) -> None:
    tenant = Tenant(bucket["tenant"].partition("/")[0], "zfs")
    interrupted(f"{root_dataset}/{tenant.name}/photos")

    assert ["bucket"] == [found.name for found in service.list_buckets(tenant).buckets]
    service.create_bucket(tenant, "photos")
    assert ["bucket", "photos"] == [found.name for found in service.list_buckets(tenant).buckets]
    assert "photos" == service.get_bucket(tenant, "photos").name
    with pytest.raises(VolumeExists):
        service.create_bucket(tenant, "photos")


def test_a_tenant(service: ObjectService, store: ZFSStorage, root_dataset: str) -> None:
    tenant = Tenant(f"t{secrets.token_hex(4)}", "zfs")
    interrupted(f"{root_dataset}/{tenant.name}")

    ensure_volume(store.volumes, tenant)
    ensure_volume(store.volumes, tenant)
    service.create_bucket(tenant, "photos")
    assert "photos" == service.get_bucket(tenant, "photos").name
