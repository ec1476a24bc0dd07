"""A process that is killed -9 at any step of any operation leaves the store as it was, or done.

A copy of one store for each kill: a child does the operation and kills itself at its n-th system
call of those that change names. Then the store is opened anew and described.
"""

from __future__ import annotations

import io
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from modules.errors import NotFound, Unavailable
from tests.conformance.memory import directory_in_memory
from tests.volumes.contents import add, backend, describe, live_items, remove
from zfsstore import ZFSStorage
from zfsstore.volumes.directory import DirectoryVolumes

Operation = Callable[[DirectoryVolumes], object]

_RENAMES = ("os.rename", "os.remove")
_OTHERS = ("os.mkdir", "os.link", "os.rmdir", "open")
_OTHERS_APART = 250


@pytest.fixture(scope="module")
def template() -> Iterator[Path]:
    """A store with a tenant, a bucket with the snapshots one and two, a clone of one, a trash."""
    with directory_in_memory() as directory:
        root = Path(directory, "objects")
        store = ZFSStorage(directory=str(root))
        volumes = backend(store)
        volumes.create_volume("acme", 10_000)
        bucket = volumes.create_volume("acme/photos", 1000)["uuid"]
        goes = add(store, "acme/photos", b"goes")
        add(store, "acme/photos", b"stays")
        one = volumes.create_snapshot(bucket, "one")["uuid"]
        remove(store, "acme/photos", goes)
        volumes.create_snapshot(bucket, "two")
        add(store, "acme/photos", b"live")
        volumes.create_clone(bucket, one, "acme/fork")
        thrown = volumes.create_volume("acme/thrown")["uuid"]
        add(store, "acme/thrown", b"thrown")
        volumes.delete_volume(thrown)
        volumes.create_volume("beta")
        for name, base in (("one", None), ("two", "one")):
            with volumes.send_stream("acme/photos", name, base) as stream:
                Path(directory, name).write_bytes(stream.read())
        with open(Path(directory, "one"), "rb") as stream:
            volumes.receive_stream("beta/copy", stream)
        for ballast in root.glob("**/ballast"):
            ballast.write_bytes(b"")  # to be copied in no time, as are fewer directories
        for leaf in root.glob("**/.zfsstore/objects/main/*"):
            if not any(leaf.iterdir()):
                leaf.rmdir()
        yield root


def uuid_of(volumes: DirectoryVolumes, name: str) -> str:
    return next(v["uuid"] for v in volumes.list_volumes() if v["name"] == name)


def snapshot_of(volumes: DirectoryVolumes, name: str, snapshot: str) -> str:
    listed = volumes.list_snapshots(uuid_of(volumes, name))
    return next(one["uuid"] for one in listed if one["name"] == snapshot)


def photos(volumes: DirectoryVolumes) -> str:
    return uuid_of(volumes, "acme/photos")


OPERATIONS: dict[str, Operation] = {
    "snapshot": lambda v: v.create_snapshot(photos(v), "three"),
    "snapshots": lambda v: v.create_snapshots([photos(v), uuid_of(v, "acme")], "three"),
    "delete_snapshot": lambda v: v.delete_snapshot(photos(v), snapshot_of(v, "acme/photos", "two")),
    "clone": lambda v: v.create_clone(
        photos(v), snapshot_of(v, "acme/photos", "two"), "acme/second"
    ),
    "promote": lambda v: v.promote_volume(uuid_of(v, "acme/fork")),
    "rollback": lambda v: v.rollback_volume(
        photos(v), snapshot_of(v, "acme/photos", "one"), destroy_newer=True
    ),
    "rename": lambda v: v.rename_volume(photos(v), "acme/pictures"),
    "rename_tenant": lambda v: v.rename_volume(uuid_of(v, "acme"), "Großer Name" * 10),
    "delete": lambda v: v.delete_volume(photos(v)),
    "restore": lambda v: v.restore_volume(v.list_trash()[0].id, "acme/back"),
    "destroy": lambda v: v.destroy_volume(uuid_of(v, "acme/fork")),
    "receive": lambda v: v.receive_stream("acme/copy", stream_in(v, "one")),
    "update": lambda v: v.receive_stream("beta/copy", stream_in(v, "two")),
}


def stream_in(volumes: DirectoryVolumes, name: str) -> io.BytesIO:
    root = volumes.access_handle(uuid_of(volumes, "beta"))["path"]
    return io.BytesIO(Path(root).parent.parent.joinpath(name).read_bytes())


def run(root: Path, operation: Operation, kill_at: int) -> tuple[int, int]:
    """Do *operation* in a child that dies at the n-th step; return its status and its steps.

    Steps: each rename and removal, and some of the many creations, links and directories.
    """
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        steps = [0, 0]

        def count(event: str, arguments: Any) -> None:
            if event in _OTHERS:
                steps[1] += 1
            if event in _RENAMES or (event in _OTHERS and steps[1] % _OTHERS_APART == 0):
                steps[0] += 1
                if steps[0] == kill_at:
                    os.kill(os.getpid(), signal.SIGKILL)

        status = 1
        try:
            volumes = backend(ZFSStorage(directory=str(root)))
            sys.addaudithook(count)
            operation(volumes)
            os.write(writer, steps[0].to_bytes(4, "big"))
            status = 0
        finally:
            os._exit(status)
    os.close(writer)
    with open(reader, "rb") as pipe:
        steps_taken = int.from_bytes(pipe.read(), "big")
    return os.waitpid(pid, 0)[1], steps_taken


def copy_of(template: Path, target: Path) -> Path:
    """Copy a store with its hard links, and the streams beside it."""
    target.mkdir()
    subprocess.run(["cp", "-a", f"{template.parent}/.", str(target)], check=True)
    return target / "objects"


def require_no_mixture(root: Path) -> None:
    """Look at the volumes as the data path does, before anything has been finished."""
    store = ZFSStorage(directory=str(root))
    for name in ("acme/photos", "acme/fork", "beta/copy"):
        with suppress(NotFound, Unavailable):
            live_items(store, name)


@pytest.mark.slow
@pytest.mark.parametrize("name", OPERATIONS)
def test_operation_killed_at_any_step_is_done_or_not_done(template: Path, name: str) -> None:
    operation = OPERATIONS[name]
    with directory_in_memory() as directory:
        work = Path(directory)
        before = describe(ZFSStorage(directory=str(copy_of(template, work / "before"))))
        done = copy_of(template, work / "done")
        status, steps = run(done, operation, 0)
        assert (status, steps > 1) == (0, True)
        after = describe(ZFSStorage(directory=str(done)))
        assert after != before
        found = []
        for kill_at in range(1, steps + 1):
            root = copy_of(template, work / "killed")
            status, _steps = run(root, operation, kill_at)
            assert os.WTERMSIG(status) == signal.SIGKILL
            require_no_mixture(root)
            state = describe(ZFSStorage(directory=str(root)))
            assert state in (before, after), f"killed at step {kill_at} of {steps}"
            found.append(state == after)
            volumes = backend(ZFSStorage(directory=str(root)))
            volumes.patch_volume(uuid_of(volumes, "beta"), 10_000)
            assert os.listdir(root / ".zfsstore/work") == []
            shutil.rmtree(work / "killed")
        assert found == sorted(found)  # not done, up to some step; done, from there on
        assert not found[0]
