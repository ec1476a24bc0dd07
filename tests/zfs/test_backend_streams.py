"""ZfsBackend on a real pool: what it sends, receives, and goes on with after a break."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from modules.errors import (
    Busy,
    Conflict,
    InvalidArgument,
    NotFound,
    StorageError,
    VolumeExists,
    VolumeNotFound,
)
from tests.zfs.backends import another, tree
from zfsstore import ZfsBackend
from zfsstore.zfs.errors import Diverged, InvalidStream
from zfsstore.zfs.transfer import SupportsRead

pytestmark = pytest.mark.zfs

MIB = 1024 * 1024


@pytest.fixture(scope="module")
def dataset(pool: str) -> Iterator[str]:
    with tree(pool) as name:
        yield name


@pytest.fixture(scope="module")
def elsewhere(pool: str) -> Iterator[str]:
    """Where a replica keeps its volumes."""
    with tree(pool) as name:
        yield name


@pytest.fixture(scope="module")
def srv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("srv")


@pytest.fixture(scope="module")
def backend(dataset: str, srv: Path) -> ZfsBackend:
    return another(dataset, srv)


class Breaking:
    """The first bytes of a stream; then the line is cut."""

    def __init__(self, stream: SupportsRead, size: int) -> None:
        self._stream = stream
        self._left = size

    def read(self, size: int, /) -> bytes:
        if self._left == 0:
            raise ConnectionResetError("the line was cut")
        data = self._stream.read(min(size, self._left))
        self._left -= len(data)
        return data


def empty(*backends: ZfsBackend) -> None:
    """Delete all volumes."""
    for backend in backends:
        for volume in backend.list_volumes():
            backend.delete_volume(volume["uuid"])


def begin(source: ZfsBackend, replica: ZfsBackend, *snapshots: str, name: str = "copy") -> str:
    """Send the volume "cut" up to where the line is cut, and return the token."""
    sent = source.send_stream("cut", *snapshots)
    with sent as stream, pytest.raises(ConnectionResetError) as caught:
        replica.receive_stream(name, Breaking(stream, 5 * MIB // 2), resumable=True)
    assert f"resume_token({name!r})" in caught.value.__notes__[0]
    token = replica.resume_token(name)
    assert token is not None
    return token


def test_streams_keep_data_snapshots_and_uuid(dataset: str, srv: Path, elsewhere: str) -> None:
    source = another(dataset, srv)
    uuid = source.create_volume("sent", 64 * MIB)["uuid"]
    (srv / "sent" / "file").write_text("first")
    first = source.create_snapshot(uuid, "first")
    (srv / "sent" / "file").write_text("second")
    second = source.create_snapshot(uuid, "second")

    replica = another(elsewhere, srv / "there")
    with source.send_stream("sent", "first") as stream:
        assert 0 < replica.receive_stream("copy", stream, uuid=uuid)
    assert "first" == (srv / "there" / "copy" / "file").read_text()
    assert "copy" == (replica.get_volume(uuid) or {})["name"]
    assert first["uuid"] == replica.list_snapshots(uuid)[0]["uuid"]
    with source.send_stream("sent", "second", "first") as stream:
        replica.receive_stream("copy", stream)
    assert "second" == (srv / "there" / "copy" / "file").read_text()
    assert [first["uuid"], second["uuid"]] == [s["uuid"] for s in replica.list_snapshots(uuid)]

    with pytest.raises(OSError, match="Read-only"):
        (srv / "there" / "copy" / "file").write_text("changed there")
    assert "rw" == replica.break_off_volume(uuid)["vol_type"]
    (srv / "there" / "copy" / "file").write_text("changed there")
    (srv / "sent" / "file").write_text("third")
    source.create_snapshot(uuid, "third")
    with source.send_stream("sent", "third", "second") as stream, pytest.raises(Diverged):
        replica.receive_stream("copy", stream)
    assert "changed there" == (srv / "there" / "copy" / "file").read_text()
    with source.send_stream("sent", "third", "second") as stream:
        replica.receive_stream("copy", stream, rollback=True)
    assert "third" == (srv / "there" / "copy" / "file").read_text()

    with source.send_stream("sent", "first") as stream:
        source.receive_stream("beside", stream)
    assert uuid not in {v["uuid"] for v in source.list_volumes() if v["name"] == "beside"}
    with source.send_stream("sent", "first") as stream, pytest.raises(StorageError):
        source.receive_stream("sent", stream)
    empty(source, replica)


def test_a_bookmark_stands_for_a_snapshot_that_is_gone_and_a_hold_keeps_one(
    backend: ZfsBackend, srv: Path
) -> None:
    uuid = backend.create_volume("kept")["uuid"]
    first = backend.create_snapshot(uuid, "first")["uuid"]
    backend.hold_snapshot(uuid, first, "replica")
    assert ["replica"] == backend.list_holds(uuid, first)
    with pytest.raises(Busy):
        backend.delete_snapshot(uuid, first)
    backend.release_snapshot(uuid, first, "replica")
    assert [] == backend.list_holds(uuid, first)
    mark = backend.create_bookmark(uuid, first, "mark")
    assert [mark] == backend.list_bookmarks(uuid)
    assert first == mark["uuid"]
    with backend.send_stream("kept", "first") as stream:
        backend.receive_stream("there", stream)
    backend.delete_snapshot(uuid, first)
    (srv / "kept" / "file").write_text("second")
    backend.create_snapshot(uuid, "second")
    with backend.send_stream("kept", "second", "#mark") as stream:
        backend.receive_stream("there", stream)
    assert "second" == (srv / "there" / "file").read_text()
    backend.delete_bookmark(uuid, "mark")
    assert [] == backend.list_bookmarks(uuid)
    empty(backend)


def test_streams_that_cannot_be(backend: ZfsBackend, srv: Path) -> None:
    uuid = backend.create_volume("streams")["uuid"]
    backend.create_snapshot(uuid, "s")
    for arguments in (("streams", "absent"), ("streams", "s", "absent"), ("streams", "s", "s")):
        with pytest.raises(InvalidArgument):
            backend.send_stream(*arguments)
    with pytest.raises(VolumeNotFound):
        backend.send_stream("absent", "s")
    with pytest.raises(StorageError):
        backend.receive_stream("new", io.BytesIO(b"no stream"))
    with backend.send_stream("streams", "s") as stream, pytest.raises(StorageError):
        backend.receive_stream("new", io.BytesIO(stream.read(1000)))
    assert ["streams"] == [volume["name"] for volume in backend.list_volumes()]
    assert not (srv / "new").exists()
    backend.delete_volume(uuid)


def test_a_new_volume_whose_stream_breaks_off_twice(
    dataset: str, srv: Path, elsewhere: str
) -> None:
    source, replica = another(dataset, srv), another(elsewhere, srv / "there")
    uuid, data = source.create_volume("twice")["uuid"], os.urandom(8 * MIB)
    (srv / "twice" / "file").write_bytes(data)
    snapshot = source.create_snapshot(uuid, "first")
    with source.send_stream("twice", "first") as stream:
        cut = io.BytesIO(b"".join(stream.read(MIB // 2) for _ in range(4)))
    with pytest.raises(InvalidStream, match=r"send_resumed.*abort_receive\('twice'\)"):
        replica.receive_stream("twice", cut, uuid=uuid, resumable=True)
    token = replica.resume_token("twice")
    assert token is not None
    assert "offline" == (replica.get_volume(uuid) or {})["state"]
    for resumable in (False, True):
        whole = source.send_stream("twice", "first")
        with whole as stream, pytest.raises(VolumeExists, match="send_resumed"):
            replica.receive_stream("twice", stream, resumable=resumable)
    assert token == replica.resume_token("twice")
    with pytest.raises(InvalidArgument, match="none of a volume here"):
        replica.send_resumed(token)

    with source.send_resumed(token) as stream, pytest.raises(ConnectionResetError):
        replica.receive_stream("twice", Breaking(stream, 5 * MIB // 2), resumable=True)
    later = another(elsewhere, srv / "there")
    second = later.resume_token("twice")
    assert second not in (None, token)
    with source.send_resumed(second or "") as stream:
        assert later.receive_stream("twice", stream, uuid=uuid, resumable=True) < len(data)
    assert data == (srv / "there" / "twice" / "file").read_bytes()
    received = later.get_volume(uuid) or {}
    assert ("online", "dp") == (received["state"], received["vol_type"])
    assert [snapshot["uuid"]] == [one["uuid"] for one in later.list_snapshots(uuid)]
    assert later.resume_token("twice") is None
    empty(source, replica)


def test_a_next_stream_that_breaks_off_is_gone_on_with_or_given_up(
    dataset: str, srv: Path, elsewhere: str
) -> None:
    source, replica = another(dataset, srv), another(elsewhere, srv / "there")
    uuid = source.create_volume("cut")["uuid"]
    file, copy = srv / "cut" / "file", srv / "there" / "copy" / "file"
    file.write_text("first")
    source.create_snapshot(uuid, "first")
    with source.send_stream("cut", "first") as stream:
        replica.receive_stream("copy", stream, resumable=True)
    data = os.urandom(8 * MIB)
    file.write_bytes(data)
    source.create_snapshot(uuid, "second")

    begin(source, replica, "second", "first")
    again = source.send_stream("cut", "second", "first")
    with again as stream, pytest.raises(Conflict, match="zfs receive -A"):
        replica.receive_stream("copy", stream)
    replica.abort_receive("copy")
    assert replica.resume_token("copy") is None
    with pytest.raises(NotFound, match="resumable receive state"):
        replica.abort_receive("copy")
    token = begin(source, replica, "second", "first")
    assert "first" == copy.read_text()
    with source.send_resumed(token) as stream:
        replica.receive_stream("copy", stream, resumable=True)
    assert data == copy.read_bytes()

    begin(source, replica, "second", name="other")
    replica.abort_receive("other")
    assert ["copy"] == [volume["name"] for volume in replica.list_volumes()]
    with pytest.raises(VolumeNotFound):
        replica.abort_receive("other")
    empty(source, replica)
