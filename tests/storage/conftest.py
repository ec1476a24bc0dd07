"""A store in a temporary directory, with a tenant and a bucket."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from zfsstore import ZFSStorage


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "objects"


@pytest.fixture
def store(root: Path) -> ZFSStorage:
    return ZFSStorage(directory=str(root))


@pytest.fixture
def bucket(store: ZFSStorage) -> dict[str, Any]:
    """The context of the bucket acme/photos."""
    store.volumes.create_volume("acme")
    store.volumes.create_volume("acme/photos")
    return {"tenant": "acme/photos"}


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> ZFSStorage:
    """A store with the bucket acme/photos that no test may change."""
    store = ZFSStorage(directory=str(tmp_path_factory.mktemp("shared")))
    store.volumes.create_volume("acme")
    store.volumes.create_volume("acme/photos")
    return store
