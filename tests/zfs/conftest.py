"""Datasets on the pool named by ZFSSTORE_TEST_POOL; see tools/test-zfs."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from typing import Any

import pytest

from tests.zfs.datasets import STORE_ARGUMENTS, destroy_tree, zfs
from zfsstore import ZFSStorage


@pytest.fixture(scope="session")
def pool() -> str:
    name = os.environ.get("ZFSSTORE_TEST_POOL")
    if not name:
        pytest.fail("ZFSSTORE_TEST_POOL names no pool; run tools/test-zfs")
    return name


@pytest.fixture(scope="module")
def root_dataset(pool: str) -> Iterator[str]:
    """The root dataset of one test file."""
    name = f"{pool}/store-{secrets.token_hex(4)}"
    zfs("create", name)
    yield name
    destroy_tree(name)


@pytest.fixture(scope="module")
def store(root_dataset: str) -> ZFSStorage:
    return ZFSStorage(dataset=root_dataset, **STORE_ARGUMENTS)


@pytest.fixture
def bucket(store: ZFSStorage) -> dict[str, Any]:
    """The context of a new bucket in a new tenant, both without a quota."""
    tenant = f"t{secrets.token_hex(4)}"
    store.volumes.create_volume(tenant)
    store.volumes.create_volume(f"{tenant}/bucket")
    return {"tenant": f"{tenant}/bucket"}
