"""What the tests of the zfs client share: a tree of datasets, and runners for others."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.zfs.datasets import destroy_tree, value, zfs
from zfsstore.zfs.runner import LocalRunner

NOBODY = LocalRunner(prefix=("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--"))
"""Runs commands as the user nobody."""


@contextmanager
def tree(pool: str) -> Iterator[str]:
    """A dataset of the pool for the time of a test file."""
    name = f"{pool}/client-{secrets.token_hex(4)}"
    zfs("create", name)
    try:
        yield name
    finally:
        destroy_tree(name)


def new(root: str, *options: str) -> str:
    """Create a dataset of a name of its own."""
    name = f"{root}/d{secrets.token_hex(4)}"
    zfs("create", *options, name)
    return name


def path(dataset: str) -> Path:
    """Return where it is mounted."""
    return Path(value(dataset, "mountpoint"))


def exists(name: str) -> bool:
    return LocalRunner()(["zfs", "list", "-t", "all", name])["success"]
