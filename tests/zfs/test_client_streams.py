"""Send, receive and keys on a real pool: whole, incremental, raw, cut, resumed, refused."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from modules.errors import (
    AlreadyExists,
    Busy,
    CommandFailed,
    InvalidArgument,
    NotFound,
    SnapshotNotFound,
    StorageError,
)
from tests.zfs.client import exists, new, path, tree
from tests.zfs.datasets import value, zfs
from zfsstore.zfs.client import ZfsClient
from zfsstore.zfs.errors import Diverged, InvalidStream, KeyNotLoaded, StaleResumeToken
from zfsstore.zfs.stream_commands import SendFlags
from zfsstore.zfs.transfer import copy_stream

pytestmark = pytest.mark.zfs
CLIENT = ZfsClient()
MIB = 1 << 20
DATA = os.urandom(3 * MIB)


@pytest.fixture(scope="module")
def root(pool: str) -> Iterator[str]:
    with tree(pool) as name:
        yield name


@pytest.fixture(scope="module")
def source(root: str) -> str:
    """Three snapshots: @1 and @2 differ little, @3 is without the file that @1 holds."""
    name = new(root)
    (path(name) / "big").write_bytes(DATA)
    zfs("snapshot", f"{name}@1")
    (path(name) / "small").write_text("two")
    zfs("snapshot", f"{name}@2")
    zfs("bookmark", f"{name}@1", f"{name}#m1")
    (path(name) / "big").unlink()
    zfs("snapshot", f"{name}@3")
    return name


def transfer(
    snapshot: str,
    dataset: str,
    base: str | None = None,
    *,
    mount: bool = False,
    rollback: bool = False,
) -> int:
    with CLIENT.open_send(snapshot, base=base) as stream:
        sink = CLIENT.open_receive(dataset, mount=mount, rollback=rollback)
        return copy_stream(stream, sink)


def cut(snapshot: str, dataset: str, *, resumable: bool) -> None:
    """Begin to receive, and break off after one MiB."""
    with (
        CLIENT.open_send(snapshot) as stream,
        CLIENT.open_receive(dataset, resumable=resumable) as sink,
    ):
        sink.write(stream.read(MIB))
        sink.write(stream.read(MIB // 2))
        with pytest.raises(InvalidStream):
            sink.finish()


def test_whole_then_incremental(source: str, root: str) -> None:
    copy = f"{root}/copy"
    plan = CLIENT.plan_send(f"{source}@1")
    moved = transfer(f"{source}@1", copy)
    assert abs(moved - plan.size_bytes) < plan.size_bytes / 10
    assert value(copy, "mounted") == "no"
    transfer(f"{source}@2", copy, base=f"{source}#m1")
    with CLIENT.open_send(f"{source}@3", base=f"{source}@1", intermediates=True) as stream:
        copy_stream(stream, CLIENT.open_receive(copy))
    names = [s.name.partition("@")[2] for s in CLIENT.list_snapshots(copy)]
    assert names == ["1", "2", "3"]
    zfs("mount", copy)
    assert (path(copy) / ".zfs/snapshot/1/big").read_bytes() == DATA
    for name in names:
        assert value(f"{copy}@{name}", "guid") == value(f"{source}@{name}", "guid")


def test_plans(source: str) -> None:
    steps = CLIENT.plan_send(f"{source}@3", base=f"{source}@1", intermediates=True).steps
    assert [step.snapshot for step in steps] == [f"{source}@2", f"{source}@3"]
    flags = SendFlags(compressed=True, large_blocks=True, embedded=True, properties=True)
    assert CLIENT.plan_send(f"{source}@1", flags=flags).size_bytes > len(DATA)
    with pytest.raises(SnapshotNotFound):
        CLIENT.plan_send(f"{source}@absent")
    with pytest.raises(SnapshotNotFound):
        CLIENT.plan_send(f"{source}@2", base=f"{source}#absent")
    with pytest.raises(InvalidArgument):
        CLIENT.plan_send(f"{source}@1", base=f"{source}@2")


def test_an_unknown_snapshot_is_told_by_the_first_read(source: str) -> None:
    with CLIENT.open_send(f"{source}@absent") as stream, pytest.raises(SnapshotNotFound):
        stream.read(1)


def test_where_a_stream_does_not_fit(source: str, root: str) -> None:
    taken = new(root)
    with pytest.raises(AlreadyExists):
        transfer(f"{source}@1", taken)
    with pytest.raises(Diverged):
        transfer(f"{source}@2", taken, base=f"{source}@1")
    with pytest.raises(NotFound):
        transfer(f"{source}@1", f"{root}/absent/kid")
    with pytest.raises(NotFound):
        transfer(f"{source}@2", f"{root}/absent", base=f"{source}@1")
    with pytest.raises(InvalidStream):
        copy_stream(io.BytesIO(b"\0" * 4000), CLIENT.open_receive(f"{root}/junk"))
    assert not exists(f"{root}/junk")


def test_a_changed_destination_is_rolled_back_only_when_asked(source: str, root: str) -> None:
    copy = f"{root}/changed"
    transfer(f"{source}@1", copy, mount=True)
    (path(copy) / "mine").write_text("x")
    with pytest.raises(Diverged):
        transfer(f"{source}@2", copy, base=f"{source}@1")
    assert (path(copy) / "mine").exists()
    transfer(f"{source}@2", copy, base=f"{source}@1", rollback=True)
    assert not (path(copy) / "mine").exists()


def test_properties_of_the_receiver(source: str, root: str) -> None:
    copy = f"{root}/props"
    zfs("set", "a:b=1", "compression=gzip", source)
    try:
        with CLIENT.open_send(f"{source}@1", flags=SendFlags(properties=True)) as stream:
            sink = CLIENT.open_receive(
                copy, properties={"readonly": "on"}, exclude=["compression", "mountpoint"]
            )
            copy_stream(stream, sink)
    finally:
        zfs("inherit", "a:b", source)
        zfs("inherit", "compression", source)
    got = {name: value(copy, name) for name in ("a:b", "readonly", "compression")}
    assert got == {"a:b": "1", "readonly": "on", "compression": value(root, "compression")}


def test_a_stream_that_is_cut_leaves_nothing(source: str, root: str) -> None:
    cut(f"{source}@1", f"{root}/cut", resumable=False)
    assert not exists(f"{root}/cut")


def test_an_aborted_receive_leaves_nothing(source: str, root: str) -> None:
    with CLIENT.open_send(f"{source}@1") as stream, CLIENT.open_receive(f"{root}/gone") as sink:
        sink.write(stream.read(MIB))
    assert not exists(f"{root}/gone")


def test_resume_after_a_cut(source: str, root: str) -> None:
    copy = f"{root}/resumed"
    cut(f"{source}@1", copy, resumable=True)
    token = value(copy, "receive_resume_token")
    contents = CLIENT.read_token(token)
    assert contents.snapshot == f"{source}@1"
    assert contents.snapshot_guid == int(value(f"{source}@1", "guid"))
    assert 0 < contents.plan.size_bytes < len(DATA)
    with CLIENT.open_resumed_send(token) as stream:
        rest = copy_stream(stream, CLIENT.open_receive(copy, resumable=True))
    assert rest < len(DATA)
    zfs("mount", copy)
    assert (path(copy) / "big").read_bytes() == DATA


def test_a_token_whose_snapshot_is_gone_is_stale(root: str) -> None:
    one, copy = new(root), f"{root}/stale"
    (path(one) / "big").write_bytes(DATA)
    zfs("snapshot", f"{one}@1")
    cut(f"{one}@1", copy, resumable=True)
    token = value(copy, "receive_resume_token")
    zfs("destroy", f"{one}@1")
    with pytest.raises(StaleResumeToken, match="no longer exists"):
        CLIENT.read_token(token)
    zfs("snapshot", f"{one}@1")
    with pytest.raises(StaleResumeToken, match="no longer the same"):
        CLIENT.read_token(token)
    with CLIENT.open_resumed_send(token) as stream, pytest.raises(StaleResumeToken):
        stream.read()
    CLIENT.abort_receive(copy)
    assert not exists(copy)
    with pytest.raises(NotFound):
        CLIENT.abort_receive(copy)


def test_a_sender_that_dies_half_way_is_an_error_and_no_snapshot(source: str, root: str) -> None:
    class Dying:
        count = 0

        def read(self, size: int, /) -> bytes:
            self.count += 1
            if self.count > 2:
                raise CommandFailed("the line was cut", argv=["ssh"])
            return stream.read(size)

    with CLIENT.open_send(f"{source}@1") as stream, pytest.raises(CommandFailed, match="line"):
        copy_stream(Dying(), CLIENT.open_receive(f"{root}/half"))
    assert not exists(f"{root}/half")


def test_a_destination_over_its_quota(source: str, root: str) -> None:
    small = new(root, "-o", "quota=1M")
    with pytest.raises(StorageError) as caught:
        transfer(f"{source}@1", f"{small}/kid")
    assert type(caught.value).__name__ in ("QuotaExceeded", "NoSpace")
    assert not exists(f"{small}/kid")


def test_encrypted_datasets(root: str) -> None:
    name, key = f"{root}/secret", b"correct horse battery"
    format_ = {"keyformat": "passphrase", "pbkdf2iters": "100000"}  # the fewest, for speed
    CLIENT.create_encrypted(name, format_, key)
    (path(name) / "file").write_text("plain")
    zfs("snapshot", f"{name}@1")
    with pytest.raises(Busy):
        CLIENT.unload_key(name)
    CLIENT.unmount(name)
    CLIENT.unload_key(name)
    CLIENT.unload_key(name)
    for locked in (
        lambda: CLIENT.mount(name),
        lambda: CLIENT.create(f"{name}/kid"),
        lambda: CLIENT.plan_send(f"{name}@1") and transfer(f"{name}@1", f"{root}/plain"),
    ):
        with pytest.raises(KeyNotLoaded):
            locked()
    raw = SendFlags(raw=True)
    with CLIENT.open_send(f"{name}@1", flags=raw) as stream:
        copy_stream(stream, CLIENT.open_receive(f"{root}/raw"))
    for one in (name, f"{root}/raw"):
        with pytest.raises(InvalidArgument):
            CLIENT.load_key(one, b"wrong horse battery")
        CLIENT.load_key(one, key)
        CLIENT.load_key(one, key)
        CLIENT.mount(one)
        assert (path(one) / "file").read_text() == "plain"
    with pytest.raises(InvalidArgument):
        CLIENT.create_encrypted(f"{root}/short", {"keyformat": "passphrase"}, b"short")
    with pytest.raises(InvalidArgument):
        CLIENT.load_key(root, key)


def test_a_key_from_a_file(root: str, tmp_path: Path) -> None:
    keyfile = tmp_path / "key"
    keyfile.write_bytes(os.urandom(32))
    name = f"{root}/filekey"
    where = {"encryption": "on", "keyformat": "raw", "keylocation": f"file://{keyfile}"}
    CLIENT.create(name, where)
    CLIENT.unmount(name)
    CLIENT.unload_key(name)
    CLIENT.load_key(name)
    assert value(name, "keystatus") == "available"
