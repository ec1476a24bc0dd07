"""What the tests of ZfsBackend share: a dataset for its volumes, and a backend of them."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.zfs.datasets import destroy_tree, zfs
from zfsstore import ZfsBackend


@contextmanager
def tree(pool: str) -> Iterator[str]:
    """A dataset of the pool, not mounted itself, for the time of a block."""
    name = f"{pool}/backend-{secrets.token_hex(4)}"
    zfs("create", "-o", "mountpoint=none", name)
    try:
        yield name
    finally:
        destroy_tree(name)


def another(dataset: str, srv: Path) -> ZfsBackend:
    """Return a backend that remembers nothing, as after a restart."""
    return ZfsBackend(pool=dataset, srv_root=str(srv), exports="none", retry_base_s=0.05)
