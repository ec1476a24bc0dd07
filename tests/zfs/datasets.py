"""The zfs programs, called by the tests themselves."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from modules.volumes import Volume
from zfsstore import ZFSStorage
from zfsstore.zfs.runner import LocalRunner


def run(*argv: str) -> str:
    """Run a command and return what it printed."""
    done = LocalRunner()(argv)
    assert done["success"], f"{argv}: {done['stderr']}"
    return done["stdout"]


def zfs(*arguments: str) -> str:
    """Run zfs and return what it printed, without the last newline."""
    return run("zfs", *arguments).rstrip("\n")


def value(dataset: str, name: str) -> str:
    """Return a property."""
    return zfs("get", "-Hp", "-o", "value", name, dataset)


def destroy_tree(dataset: str) -> None:
    """Destroy a dataset with all below it."""
    zfs("destroy", "-r", "-f", dataset)


def path_of(store: ZFSStorage, name: str) -> Path:
    """Return where a volume is mounted."""
    return Path(store.volumes.access_handle(named(store, name)["uuid"])["path"])


def named(store: ZFSStorage, name: str) -> Volume:
    """Return the volume of that name."""
    (volume,) = (v for v in store.volumes.list_volumes() if v["name"] == name)
    return volume


def fill(path: Path) -> None:
    """Write a file with another tool until not one more block fits."""
    for block in ("1M", "4k"):
        argv = ["dd", "if=/dev/urandom", f"of={path}", f"bs={block}", "oflag=append"]
        subprocess.run([*argv, "conv=notrunc,fsync"], capture_output=True, check=False)
    os.sync()
