"""The tests of the host once more, on ZFS and as a user who is not root; see tools/test-zfs."""

from __future__ import annotations

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
    dataset = new_dataset()
    data_dir.mkdir(mode=0o700)
    (data_dir / "objects").symlink_to(value(dataset, "mountpoint"))
    arguments = json.dumps({"dataset": dataset, **STORE_ARGUMENTS})
    argv = ["--data", str(data_dir), "module", "put", "default", "zfsstore.ZFSStorage"]
    assert main([*argv, "--args", arguments]) == 0


def new_storage(place: Path) -> ZFSStorage:
    """Return a store in the new directory *place*, or in a new dataset that *place* leads to."""
    if not is_wanted():
        return ZFSStorage(directory=str(place), headroom_bytes=0)
    dataset = new_dataset()
    place.symlink_to(value(dataset, "mountpoint"))
    return ZFSStorage(dataset=dataset, headroom_bytes=0, **STORE_ARGUMENTS)


def new_dataset() -> str:
    """Return the name of a new dataset; it goes with the pool of the tests."""
    name = f"{os.environ['ZFSSTORE_TEST_POOL']}/host-{secrets.token_hex(4)}"
    zfs("create", name)
    return name
