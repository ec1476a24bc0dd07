"""The zfs programs, called by the tests themselves."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

from modules.volumes import Volume
from zfsstore import ZFSStorage
from zfsstore.agent.client import AgentRunner
from zfsstore.zfs.runner import LocalRunner

AGENT = os.environ.get("ZFSSTORE_TEST_AGENT")
"""The socket of an agent when the tests run as a user who is not root; see tools/test-zfs."""

STORE_ARGUMENTS: dict[str, Any] = {} if AGENT is None else {"agent": AGENT}
"""What a ZFSStorage of these tests needs, beside its dataset."""

_READING = frozenset({"get", "list"})


def run(*argv: str) -> str:
    """Run a command and return what it printed; through the agent when there is one."""
    is_changing = argv[0] == "zfs" and argv[1] not in _READING
    runner = AgentRunner(AGENT) if AGENT is not None and is_changing else LocalRunner()
    done = runner(argv)
    assert done["success"], f"{argv}: {done['stderr']}"
    return done["stdout"]


def zfs(*arguments: str) -> str:
    """Run zfs and return what it printed, without the last newline."""
    return run("zfs", *arguments).rstrip("\n")


def value(dataset: str, name: str) -> str:
    """Return a property."""
    return zfs("get", "-Hp", "-o", "value", name, dataset)


def destroy_tree(dataset: str) -> None:
    """Destroy a dataset with all below it; tools/test-zfs does where there is an agent."""
    if AGENT is None:
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
