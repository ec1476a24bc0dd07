"""A store in a temporary directory, one for each test file, with a bucket for each test.

A volume is 256 directories, so tests share what they do not change.
"""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest

from zfsstore import ZFSStorage

_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("store") / "objects"


@pytest.fixture(scope="module")
def store(root: Path) -> ZFSStorage:
    store = ZFSStorage(directory=str(root))
    store.volumes.create_volume("acme")
    return store


@pytest.fixture
def bucket(store: ZFSStorage) -> dict[str, Any]:
    """The context of a new bucket of the tenant acme."""
    name = f"acme/photos{next(_numbers)}"
    store.volumes.create_volume(name)
    return {"tenant": name}


@pytest.fixture
def volume(root: Path, bucket: dict[str, Any]) -> Path:
    """The directory of the bucket."""
    return root / str(bucket["tenant"])
