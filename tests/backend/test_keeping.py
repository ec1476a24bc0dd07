"""Holds and bookmarks: their commands, and streams from a bookmark."""

from __future__ import annotations

import io
from collections.abc import Sequence

import pytest

from modules.errors import AlreadyExists, InvalidArgument, InvalidName, NotFound, SnapshotNotFound
from tests.backend.scripted import GUID, V1, Script, knowing, list_one, list_snapshots, populated
from zfsstore.volumes.common import snapshot_uuid
from zfsstore.zfs.seam import CommandReader, CommandWriter

S1 = snapshot_uuid(GUID)
ABSENT = snapshot_uuid("1")
FOUND = [list_one("p/v1"), list_snapshots("p/v1")]


class Streaming(Script):
    """A script whose streams are empty."""

    def open_read(self, argv: Sequence[str]) -> CommandReader:
        self.argvs.append(list(argv))
        return io.BytesIO()  # type: ignore[return-value]

    def open_write(self, argv: Sequence[str]) -> CommandWriter:
        raise NotImplementedError


@pytest.fixture
def script() -> Script:
    script = populated(Streaming())
    script.say("version", stdout="zfs-2.2.7-1\nzfs-kmod-2.2.7-1\n")
    script.say("list", "bookmark", stdout=f"p/v1#mark\t{GUID}\n")
    return script


def test_holds(script: Script) -> None:
    backend = knowing(script)
    backend.hold_snapshot(V1, S1, "keep")
    assert [*FOUND, ["zfs", "hold", "keep", "p/v1@s1"]] == script.taken()
    backend.release_snapshot(V1, S1, "keep")
    assert [*FOUND, ["zfs", "release", "keep", "p/v1@s1"]] == script.taken()
    script.say("holds", stdout="p/v1@s1\tkeep\t1700000000\n")
    assert ["keep"] == backend.list_holds(V1, S1)


def test_holds_that_cannot_be(script: Script) -> None:
    backend = knowing(script)
    for call in (backend.hold_snapshot, backend.release_snapshot):
        with pytest.raises(SnapshotNotFound):
            call(V1, ABSENT, "keep")
        with pytest.raises(InvalidName):
            call(V1, S1, "-r")
    assert not any("hold" in argv or "release" in argv for argv in script.taken())
    script.fail("hold", stderr="cannot hold 'p/v1@s1': tag already exists on this dataset\n")
    with pytest.raises(AlreadyExists):
        backend.hold_snapshot(V1, S1, "keep")


def test_bookmarks(script: Script) -> None:
    backend = knowing(script)
    assert {"uuid": S1, "name": "mark"} == backend.create_bookmark(V1, S1, "mark")
    assert [*FOUND, ["zfs", "bookmark", "p/v1@s1", "p/v1#mark"]] == script.taken()
    assert [{"uuid": S1, "name": "mark"}] == backend.list_bookmarks(V1)
    script.taken()
    backend.delete_bookmark(V1, "mark")
    assert [list_one("p/v1"), ["zfs", "destroy", "p/v1#mark"]] == script.taken()
    script.fail("destroy", stderr="bookmark 'p/v1#mark' does not exist.\n")
    with pytest.raises(NotFound):
        backend.delete_bookmark(V1, "mark")
    script.taken()
    with pytest.raises(InvalidName):
        backend.delete_bookmark(V1, "mark,p/other")
    assert [] == script.taken()


def test_a_stream_from_a_bookmark(script: Script) -> None:
    script.say("-nvP", stdout="incremental\t#mark\tp/v1@s1\t624\nsize\t624\n")
    knowing(script).send_stream("v1", "s1", "#mark")
    *_, plan, send = script.taken()
    assert ["zfs", "send", "-i", "p/v1#mark", "p/v1@s1"] == send
    assert ["zfs", "send"] == plan[:2]
    assert {"-i", "p/v1#mark", "p/v1@s1"} <= set(plan[2:])


@pytest.mark.parametrize("base", ["#absent", "#", "#a#b", "##mark", "absent", "a@b", "s1"])
def test_bases_that_cannot_be(script: Script, base: str) -> None:
    with pytest.raises(InvalidArgument):
        knowing(script).send_stream("v1", "s1", base)
    assert "send" not in [argv[1] for argv in script.taken()]
