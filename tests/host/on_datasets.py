"""The tests of the host once more, on ZFS and as a user who is not root; see tools/test-zfs."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from pathlib import Path

from tests.zfs.datasets import AGENT, STORE_ARGUMENTS, value, zfs
from zfsstore import ZFSStorage
from zfsstore.cli.main import main


def is_wanted() -> bool:
    """Tell whether the stores of these tests are to be datasets, by an agent."""
    return AGENT is not None


def configure(data_dir: Path) -> None:
    """Make the host's first module keep its objects in a new dataset; "objects" leads there."""
    dataset = f"{os.environ['ZFSSTORE_TEST_POOL']}/host-{secrets.token_hex(4)}"
    zfs("create", dataset)
    data_dir.mkdir(mode=0o700)
    (data_dir / "objects").symlink_to(value(dataset, "mountpoint"))
    arguments = json.dumps({"dataset": dataset, **STORE_ARGUMENTS})
    argv = ["--data", str(data_dir), "module", "put", "default", "zfsstore.ZFSStorage"]
    assert main([*argv, "--args", arguments]) == 0


def open_store(directory: Path) -> tuple[ZFSStorage, Path]:
    """Return the store that *directory* stands for and where it is: there, or on a dataset.

    Every process gets the same one for the same directory.
    """
    if not is_wanted():
        return ZFSStorage(directory=str(directory), headroom_bytes=0), directory
    name = hashlib.sha256(bytes(directory)).hexdigest()[:16]
    dataset = f"{os.environ['ZFSSTORE_TEST_POOL']}/site-{name}"
    if not directory.exists():  # it says that the dataset has been made
        zfs("create", dataset)
        directory.mkdir()
    store = ZFSStorage(dataset=dataset, headroom_bytes=0, **STORE_ARGUMENTS)
    return store, Path(value(dataset, "mountpoint"))
