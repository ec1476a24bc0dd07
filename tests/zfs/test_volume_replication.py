"""Streams between two stores: a replica, served from its newest snapshot, and broken off."""

from __future__ import annotations

import io
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from modules import fences
from modules.errors import (
    Busy,
    InvalidArgument,
    PermissionDenied,
    StorageError,
    VolumeExists,
    VolumeNotFound,
)
from modules.volumes import ReplicationBackend
from tests.storage.helpers import put
from tests.zfs.datasets import destroy_tree, named, path_of, value, zfs
from tests.zfs.indexed import new_tenant, read, record, snapshot, write, zfs_volumes
from zfsstore import ZFSStorage
from zfsstore.zfs.errors import Diverged, InvalidStream

pytestmark = pytest.mark.zfs


@pytest.fixture(scope="module")
def other(pool: str) -> Iterator[ZFSStorage]:
    """The store that receives."""
    dataset = f"{pool}/replica-{secrets.token_hex(4)}"
    zfs("create", dataset)
    yield ZFSStorage(dataset=dataset)
    destroy_tree(dataset)


def sent(store: ZFSStorage, name: str, at: str, base: str | None = None) -> bytes:
    """Return a whole stream."""
    with zfs_volumes(store).send_stream(name, at, base) as stream:
        return stream.read()


class Holding:
    """A stream during whose reading the destination can be read, and is let go at the end."""

    def __init__(self, data: bytes, held: fences.Hold) -> None:
        self._file = io.BytesIO(data)
        self._held = held
        self.was_draining = False

    def read(self, size: int, /) -> bytes:
        data = self._file.read(size)
        self.was_draining |= self._held.is_draining
        if not data:
            self._held.release()
        return data


def test_replica_is_read_from_its_snapshots_kept_up_to_date_and_broken_off(
    store: ZFSStorage, other: ZFSStorage, tmp_path: Path
) -> None:
    volumes, target = zfs_volumes(store), zfs_volumes(other)
    assert isinstance(target, ReplicationBackend)
    name, copy = f"{new_tenant(store, 'b')}/b", f"{new_tenant(other)}/{'replica ' * 12}"
    volume = named(store, name)
    large = secrets.token_bytes(3_000_000)
    write(store, name, "key", b"old")
    write(store, name, "large", large)
    snapshot(store, volume, "one")
    progress: list[int] = []
    with volumes.send_stream(name, "one") as stream:
        size = target.receive_stream(copy, stream, on_progress=progress.append)
    assert size == progress[-1] > len(large)
    received = named(other, copy)
    assert received["uuid"] == volume["uuid"]  # nobody in this store has it
    assert (received["vol_type"], received["state"]) == ("dp", "online")
    assert read(other, f"{copy}@one", tmp_path) == {"key": b"old", "large": large}
    assert value(str(path_of(other, copy)), "recordsize") == str(1024 * 1024)
    assert value(str(path_of(other, copy)), "setuid") == "off"
    with pytest.raises(PermissionDenied):
        put(other, {"tenant": copy}, b"x")
    there = [one["uuid"] for one in target.list_snapshots(received["uuid"])]
    assert there == [one["uuid"] for one in volumes.list_snapshots(volume["uuid"])]

    write(store, name, "key", b"new")
    snapshot(store, volume, "two")
    changes = sent(store, name, "two", "one")
    assert len(changes) < size
    slow = Holding(changes, fences.hold(other.fence({"tenant": copy})))
    assert target.receive_stream(copy, slow) == len(changes)
    assert not slow.was_draining  # clients were not held off while it came
    assert read(other, f"{copy}@two", tmp_path) == {"key": b"new", "large": large}
    assert read(other, f"{copy}@one", tmp_path)["key"] == b"old"

    write(store, name, "key", b"newest")
    snapshot(store, volume, "three")
    changes = sent(store, name, "three", "two")
    with fences.hold(other.fence({"tenant": copy})), pytest.raises(Busy):
        target.break_off_volume(received["uuid"])
    free = target.break_off_volume(received["uuid"])
    assert free["vol_type"] == "rw"
    assert record(other, copy)["name"] == "replica " * 12
    write(other, copy, "key", b"here")
    assert read(other, copy) == {"key": b"here", "large": large}
    with pytest.raises(Diverged):
        target.receive_stream(copy, io.BytesIO(changes))
    assert read(other, copy)["key"] == b"here"
    target.receive_stream(copy, io.BytesIO(changes), rollback=True)
    assert read(other, copy) == {"key": b"newest", "large": large}
    assert record(other, copy)["name"] == "replica " * 12
    assert named(other, copy)["uuid"] == volume["uuid"]


def test_second_copy_gets_a_uuid_of_its_own(store: ZFSStorage, other: ZFSStorage) -> None:
    target = zfs_volumes(other)
    name = f"{new_tenant(store, 'b')}/b"
    volume = named(store, name)
    write(store, name, "key", b"content")
    snapshot(store, volume, "s")
    stream = sent(store, name, "s")
    tenant = new_tenant(other)
    target.receive_stream(f"{tenant}/one", io.BytesIO(stream))
    target.receive_stream(f"{tenant}/two", io.BytesIO(stream), read_only=False)
    chosen = "33333333-3333-4333-8333-333333333333"
    target.receive_stream(f"{tenant}/three", io.BytesIO(stream), uuid=chosen)
    uuids = [named(other, f"{tenant}/{one}")["uuid"] for one in ("one", "two", "three")]
    assert uuids[0] == volume["uuid"]
    assert uuids[1] not in (volume["uuid"], chosen)
    assert uuids[2] == chosen
    assert record(other, f"{tenant}/two")["uuid"] == uuids[1]
    assert read(other, f"{tenant}/two") == {"key": b"content"}
    with pytest.raises(VolumeExists, match="uuid"):
        target.receive_stream(f"{tenant}/four", io.BytesIO(stream), uuid=chosen)
    with pytest.raises(VolumeExists):
        target.receive_stream(f"{tenant}/two", io.BytesIO(stream), rollback=True)


class Torn:
    """Gives part of a stream, then fails."""

    def __init__(self, data: bytes) -> None:
        self._file = io.BytesIO(data)

    def read(self, size: int, /) -> bytes:
        data = self._file.read(min(size, 100_000))
        if not data:
            raise ConnectionResetError("the network is gone")
        return data


def test_what_cannot_be_sent_or_received_leaves_nothing(
    store: ZFSStorage, other: ZFSStorage, pool: str
) -> None:
    volumes, target = zfs_volumes(store), zfs_volumes(other)
    name = f"{new_tenant(store, 'b')}/b"
    volume = named(store, name)
    put(store, {"tenant": name}, secrets.token_bytes(1_000_000))
    snapshot(store, volume, "one")
    snapshot(store, volume, "two")
    for arguments in (("none",), ("two", "none"), ("one", "two"), ("one", "one")):
        with pytest.raises(InvalidArgument):
            volumes.send_stream(name, *arguments)
    with pytest.raises(VolumeNotFound):
        volumes.send_stream("nobody/b", "one")

    tenant = new_tenant(other)
    before = [volume["name"] for volume in target.list_volumes()]
    stream = sent(store, name, "one")
    foreign = f"{pool}/foreign-{secrets.token_hex(4)}"
    zfs("create", foreign)
    zfs("snapshot", f"{foreign}@s")
    with volumes._zfs.open_send(f"{foreign}@s") as reader:
        no_volume = reader.read()
    destroy_tree(foreign)
    refused: list[tuple[object, type[Exception]]] = [
        (io.BytesIO(b"junk" * 1000), InvalidStream),
        (io.BytesIO(stream[: len(stream) // 2]), InvalidStream),
        (Torn(stream[: len(stream) // 2]), ConnectionResetError),
        (io.BytesIO(no_volume), InvalidArgument),
        (io.BytesIO(sent(store, name, "two", "one")), VolumeNotFound),
    ]
    for source, error in refused:
        with pytest.raises(error):
            target.receive_stream(f"{tenant}/x", source)  # type: ignore[arg-type]
    with pytest.raises(VolumeNotFound, match="tenant"):
        target.receive_stream("nobody/x", io.BytesIO(stream))
    assert before == [volume["name"] for volume in target.list_volumes()]

    target.receive_stream(f"{tenant}/x", io.BytesIO(stream))
    changes = sent(store, name, "two", "one")
    for source in (io.BytesIO(changes[:-1]), Torn(changes)):
        with pytest.raises((StorageError, ConnectionResetError)):
            target.receive_stream(f"{tenant}/x", source)
    own = named(other, f"{tenant}/x")["uuid"]
    assert [one["name"] for one in target.list_snapshots(own)] == ["one"]
    target.receive_stream(f"{tenant}/x", io.BytesIO(changes))
    assert [one["name"] for one in target.list_snapshots(own)] == ["one", "two"]
