"""What our client writes is understood; whatever else is refused."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from modules.errors import InvalidArgument, NotSupported
from tests.zfs_client.recording import OLD_VERSION, Recorder
from zfsstore.agent import grammar
from zfsstore.zfs.client import ZfsClient
from zfsstore.zfs.stream_commands import SendFlags, receive_argv, resume_argv, send_argv

D, S = "tank/objects/acme", "tank/objects/acme@monday"

CALLS: dict[str, Callable[[ZfsClient], object]] = {
    "create": lambda c: c.create(D, {"quota": "1G", "zfsstore:name": "a=b"}),
    "create unmounted": lambda c: c.create(D, mount=False),
    "destroy": lambda c: c.destroy(D, recursive=True, force=True),
    "plan": lambda c: c.plan_destroy(D, recursive=True),
    "get": lambda c: c.get([D], ("mountpoint", "zfsstore:uuid"), depth=2),
    "set": lambda c: c.set(D, {"quota": "none", "recordsize": "1M"}),
    "set on snapshot": lambda c: c.set_on_snapshot(S, {"zfsstore:why": "it"}),
    "inherit": lambda c: c.inherit(D, "quota", recursive=True, received=True),
    "rename": lambda c: c.rename(D, f"{D}2", force=True),
    "list": lambda c: c.list_datasets([D], ("used",), recursive=True, depth=2, sort=("-used",)),
    "list snapshots": lambda c: c.list_snapshots(D, ("guid",), recursive=True),
    "list bookmarks": lambda c: c.list_bookmarks(D),
    "snapshot": lambda c: c.snapshot([S, "tank/objects/b@monday"], {"zfsstore:by": "x"}),
    "snapshot -r": lambda c: c.snapshot([S], recursive=True),
    "rename snapshot": lambda c: c.rename_snapshot(S, "tuesday"),
    "clone": lambda c: c.clone(S, "tank/objects/fork", {"zfsstore:uuid": "1"}),
    "promote": lambda c: c.promote(D),
    "rollback": lambda c: c.rollback(S, destroy_newer=True),
    "destroy snapshots": lambda c: c.destroy_snapshots(D, ["a", "b"]),
    "hold": lambda c: c.hold("keep", [S]),
    "release": lambda c: c.release("keep", [S], recursive=True),
    "holds": lambda c: c.holds([S]),
    "bookmark": lambda c: c.bookmark(S, "mark"),
    "destroy bookmark": lambda c: c.destroy_bookmark(f"{D}#mark"),
    "mount": lambda c: c.mount(D),
    "unmount": lambda c: c.unmount(D, force=True),
    "unload key": lambda c: c.unload_key(D, recursive=True),
    "abort receive": lambda c: c.abort_receive(D),
    "pools": lambda c: c.list_pools(["tank"]),
    "pool status": lambda c: c.pool_status(["tank"]),
}


@pytest.mark.parametrize("version", [None, OLD_VERSION])
@pytest.mark.parametrize("call", CALLS)
def test_what_the_client_writes_is_understood(call: str, version: str | None) -> None:
    plan = {"zfs destroy": f"destroy\t{D}\nreclaim\t1\n", "zpool status": "  pool: t\n state: X\n"}
    recorder = Recorder(plan if version else {**plan, "zpool status": "{}"}, **_kwargs(version))
    CALLS[call](ZfsClient(recorder))
    assert recorder.argvs
    for argv in recorder.argvs:
        assert argv == grammar.parse(argv).argv()


def _kwargs(version: str | None) -> dict[str, str]:
    return {} if version is None else {"version": version}


@pytest.mark.parametrize(
    "argv",
    [
        send_argv(S),
        send_argv(S, base=f"{D}#mark", chosen=SendFlags(raw=True, compressed=True)),
        send_argv(
            S, base=f"{D}@old", intermediates=True, chosen=SendFlags(replicate=True), dry_run=True
        ),
        resume_argv("1-a-b-c"),
        receive_argv(D, resumable=True, rollback=True, properties={"quota": "1G"}, exclude=["a:b"]),
        receive_argv(D, mount=True, properties={}),
        ["zfs", "load-key", "-r", "-L", "prompt", D],
    ],
)
def test_streams_are_understood(argv: list[str]) -> None:
    assert argv == grammar.parse(argv).argv()


@pytest.mark.parametrize(
    "argv",
    [
        [],
        ["zfs"],
        ["/sbin/zfs", "list"],
        ["sh", "-c", "id"],
        ["zfs", "allow", "-u", "bob", "mount", D],
        ["zfs", "share", D],
        ["zfs", "diff", S],
        ["zfs", "program", "tank", "/tmp/x.lua"],
        ["zfs", "change-key", D],
        ["zpool", "destroy", "tank"],
        ["zpool", "scrub", "tank"],
        ["exportfs", "-r"],
    ],
)
def test_a_command_that_is_not_in_the_list_is_refused(argv: list[str]) -> None:
    with pytest.raises(NotSupported, match="no command"):
        grammar.parse(argv)


@pytest.mark.parametrize(
    "argv",
    [
        ["zfs", "create"],
        ["zfs", "create", "-p", D],
        ["zfs", "create", "-V", "1G", D],
        ["zfs", "create", "-o", "quota", D],
        ["zfs", "create", "-o", "quota=1G", "-o", "quota=2G", D],
        ["zfs", "create", D, "-o", "quota=1G"],
        ["zfs", "create", D, f"{D}2"],
        ["zfs", "create", f"{D}\nx"],
        ["zfs", "create", "-tank/objects/x"],
        ["zfs", "create", "tank/objects/../etc"],
        ["zfs", "create", "tank/objects//x"],
        ["zfs", "create", f"-o{D}"],
        ["zfs", "destroy", "-R", D],
        ["zfs", "destroy", "-rf", D],
        ["zfs", "destroy", f"{D}@a,"],
        ["zfs", "destroy", f"{D}@a%b"],
        ["zfs", "rollback", "-R", S],
        ["zfs", "rename", "-p", D, f"{D}2"],
        ["zfs", "rename", "-u", D, f"{D}2"],
        ["zfs", "mount", "-a"],
        ["zfs", "mount", "-o", "suid", D],
        ["zfs", "unmount", "/etc"],
        ["zfs", "load-key", D],
        ["zfs", "load-key", "-L", "file:///etc/shadow", D],
        ["zfs", "send", "-i", "@monday", S],
        ["zfs", "send", "-t", "/etc/passwd"],
        ["zfs", "receive", "-d", D],
        ["zfs", "receive", "-o", "origin=tank/secret@x", "-e", D],
        ["zfs", "list", "-Hp", "-t", "filesystem", "-o", "name"],
        ["zfs", "list", "-Hp", "-t", "all", "-o", "name", D],
        ["zfs", "get", "-Hp", "-d", "x", "-t", "filesystem", "-o", "name", "used", D],
        ["zfs", "get", "all", D],
        ["zfs", "set", D],
        ["zfs", "hold", ".x", S],
    ],
)
def test_another_spelling_is_refused(argv: list[str]) -> None:
    with pytest.raises(InvalidArgument):
        grammar.parse(argv)
