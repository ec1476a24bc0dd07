"""The published conformance suite against ZfsBackend on a real pool."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.zfs.datasets import destroy_tree, zfs
from zfsstore import ZfsBackend

nessie_backend_conformance = pytest.importorskip(
    "nessie_backend_conformance", reason="install the test extra", exc_type=ImportError
)

pytestmark = pytest.mark.zfs


@pytest.fixture
def dataset(pool: str) -> Iterator[str]:
    name = f"{pool}/nessie-{secrets.token_hex(4)}"
    zfs("create", "-o", "mountpoint=none", name)
    yield name
    destroy_tree(name)


def test_the_published_suite_passes(dataset: str, tmp_path: Path) -> None:
    backend = ZfsBackend(pool=dataset, srv_root=str(tmp_path), exports="none")
    nessie_backend_conformance.run_all(backend)
    assert [] == backend.list_volumes(), "the suite cleans up"
