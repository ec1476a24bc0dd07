"""Streams that break off: what is kept, what is undone, and the commands that go on."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from typing import Self

import pytest

from modules.errors import InvalidArgument, NotFound, VolumeExists, VolumeNotFound
from tests.backend.scripted import (
    C1,
    LIST_POOL,
    V1,
    Script,
    knowing,
    list_one,
    list_snapshots,
    populated,
    row,
)
from zfsstore.zfs.errors import InvalidStream
from zfsstore.zfs.seam import CommandReader, CommandWriter
from zfsstore.zfs.streams import failed

TOKEN = "1-937c250f2-b0-789c63"
NEW = "33333333-3333-4333-8333-333333333333"
BROKEN = "cannot receive new filesystem stream: incomplete stream\n"
GET = ["zfs", "get", "-Hp", "-t", "filesystem", "-o", "name,property,value,source"]
LEFT_OUT = [
    *("-x", "sharenfs", "-x", "sharesmb", "-x", "canmount"),
    *("-x", "zfsstore:fsid", "-x", "zfsstore:name"),
]


class Streaming(Script):
    """A script that streams: sends nothing, and receives as *end* says."""

    def __init__(self) -> None:
        super().__init__()
        self.end: Callable[[Script], None] = lambda _: None

    def open_read(self, argv: Sequence[str]) -> CommandReader:
        self.argvs.append(list(argv))
        return io.BytesIO()  # type: ignore[return-value]

    def open_write(self, argv: Sequence[str]) -> CommandWriter:
        return _Receiving(self, argv)


class _Receiving:
    def __init__(self, script: Streaming, argv: Sequence[str]) -> None:
        self._script = script
        script.argvs.append(list(argv))

    def write(self, data: bytes, /) -> int:
        return len(data)

    def finish(self) -> str:
        self._script.end(self._script)
        argv = self._script.argvs[-1]
        answer = self._script(argv)
        self._script.argvs.pop()
        if not answer["success"]:
            raise failed(argv, 1, answer.get("stderr", ""))
        return ""

    def abort(self) -> None:
        self._script.end(self._script)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass


class Lost:
    """A source of which nothing comes."""

    def read(self, size: int, /) -> bytes:
        raise ConnectionResetError("the line was cut")


@pytest.fixture
def script() -> Streaming:
    script = Streaming()
    populated(script)
    script.fail("list", "p/new", stderr="cannot open 'p/new': dataset does not exist\n")
    return script


def breaks_off(script: Streaming, dataset: str, token: str = "-") -> None:
    """Let the next receive fail, and the dataset be there with that token."""

    def end(script: Script) -> None:
        script.fail("receive", dataset, stderr=BROKEN)
        say_token(script, dataset, token)
        if dataset == "p/new":
            script.say("list", "p/new", stdout=row("p/new", NEW, mounted="no"))

    script.end = end


def say_token(script: Script, dataset: str, token: str) -> None:
    line = f"{dataset}\treceive_resume_token\t{token}\t-\n"
    script.say("get", "receive_resume_token", dataset, stdout=line)


def get_token(dataset: str) -> list[str]:
    return [*GET, "receive_resume_token", dataset]


def receive_new(*flags: str) -> list[str]:
    own = ["-o", "mountpoint=/srv/new", "-o", f"zfsstore:uuid={NEW}", "-o", "readonly=on"]
    return ["zfs", "receive", *flags, *own, *LEFT_OUT, "p/new"]


def unfinished(script: Script) -> None:
    """Let the volume "new" be one of which the rest is still to come."""
    new = row("p/new", NEW, mounted="no", readonly="on")
    script.say("list", "-d", "filesystem", "p", stdout=row("p") + row("p/v1", V1) + new)
    script.say("list", "p/new", stdout=new)
    script.say("list", "snapshot", "p/new", stdout="")
    say_token(script, "p/new", TOKEN)


def test_resumable_is_one_flag(script: Streaming) -> None:
    for resumable, flags in ((False, ()), (True, ("-s",))):
        backend = knowing(script)
        backend.receive_stream("v1", io.BytesIO(b"x"), resumable=resumable)
        assert [LIST_POOL, ["zfs", "receive", *flags, "p/v1"]] == script.taken()
        backend.receive_stream("new", io.BytesIO(b"x"), uuid=NEW, resumable=resumable)
        received = [argv for argv in script.taken() if argv[1] != "list"]
        assert [receive_new(*flags)] == received


def test_a_new_volume_with_a_token_is_not_undone(script: Streaming) -> None:
    breaks_off(script, "p/new", TOKEN)
    with pytest.raises(InvalidStream, match=r"send_resumed.*abort_receive\('new'\)"):
        knowing(script).receive_stream("new", io.BytesIO(b"x"), uuid=NEW, resumable=True)
    *_, received, spared, told = script.taken()
    assert "-s" in received
    assert [get_token("p/new")] * 2 == [spared, told]


@pytest.mark.parametrize("resumable", [False, True])
def test_a_new_volume_without_a_token_is_undone(script: Streaming, resumable: bool) -> None:
    breaks_off(script, "p/new")
    with pytest.raises(InvalidStream) as caught:
        knowing(script).receive_stream("new", io.BytesIO(b"x"), uuid=NEW, resumable=resumable)
    argvs = script.taken()
    assert ["zfs", "destroy", "-f", "p/new"] in argvs
    assert resumable == (get_token("p/new") in argvs)
    assert "resume_token" not in str(caught.value)


def test_what_a_source_raises_goes_on_with_a_note(script: Streaming) -> None:
    breaks_off(script, "p/v1", TOKEN)
    with pytest.raises(ConnectionResetError) as caught:
        knowing(script).receive_stream("v1", Lost(), resumable=True)
    assert "resume_token('v1')" in caught.value.__notes__[0]
    with pytest.raises(ConnectionResetError) as caught:
        knowing(script).receive_stream("v1", Lost())
    assert not hasattr(caught.value, "__notes__")


def test_when_the_token_cannot_be_asked_for_the_first_error_stays(script: Streaming) -> None:
    script.end = lambda script: script.fail("receive_resume_token", stderr="I/O error\n")
    with pytest.raises(ConnectionResetError):
        knowing(script).receive_stream("new", Lost(), resumable=True)
    assert "destroy" not in [argv[1] for argv in script.taken()]


def test_the_rest_of_a_new_volume_makes_it_one(script: Streaming) -> None:
    unfinished(script)
    backend = knowing(script, dataset_owner="root:root", exports="sharenfs", nfs_clients=["h"])
    backend.receive_stream("new", io.BytesIO(b"x"), resumable=True)
    found, received, published = (argvs := script.taken())[:3], argvs[3], argvs[4:]
    assert [LIST_POOL, get_token("p/new"), list_snapshots("p/new")] == found
    assert receive_new("-s") == received
    assert any(argv[:2] == ["zfs", "set"] and "sharenfs" in argv[2] for argv in published)
    with pytest.raises(VolumeExists):
        backend.receive_stream("new", io.BytesIO(b"x"), uuid=C1, resumable=True)


def test_another_stream_for_what_has_begun_is_told_how_to_go_on(script: Streaming) -> None:
    unfinished(script)
    exists = "cannot receive new filesystem stream: destination 'p/new' exists\n"
    script.fail("receive", stderr=exists)
    with pytest.raises(VolumeExists, match=r"send_resumed.*abort_receive\('new'\)"):
        knowing(script).receive_stream("new", io.BytesIO(b"x"))
    assert "destroy" not in [argv[1] for argv in script.taken()]


@pytest.mark.parametrize("resumable", [False, True])
def test_what_was_begun_earlier_is_not_destroyed(script: Streaming, resumable: bool) -> None:
    unfinished(script)
    breaks_off(script, "p/new")
    with pytest.raises(InvalidStream):
        knowing(script).receive_stream("new", io.BytesIO(b"x"), resumable=resumable)
    assert "destroy" not in [argv[1] for argv in script.taken()]


def test_a_volume_that_is_only_offline_is_no_beginning(script: Streaming) -> None:
    script.say("list", "-d", "filesystem", "p", stdout=row("p") + row("p/v1", V1, mounted="no"))
    say_token(script, "p/v1", TOKEN)
    knowing(script).receive_stream("v1", io.BytesIO(b"x"), resumable=True)
    assert ["zfs", "receive", "-s", "p/v1"] == script.taken()[-1]


def test_a_token_is_asked_of_the_volume(script: Streaming) -> None:
    backend = knowing(script)
    say_token(script, "p/v1", TOKEN)
    assert TOKEN == backend.resume_token("v1")
    assert [LIST_POOL, get_token("p/v1")] == script.taken()
    say_token(script, "p/v1", "-")
    assert backend.resume_token("v1") is None
    assert backend.resume_token("absent") is None


def contents(snapshot: str) -> str:
    return (
        f"resume token contents:\n\tbytes = 0x1\n\ttoguid = 0x2\n\ttoname = {snapshot}\n"
        f"full\t{snapshot}\t10\nsize\t10\n"
    )


def test_a_token_is_looked_into_before_anything_is_sent(script: Streaming) -> None:
    backend = knowing(script)
    plan, send = ["zfs", "send", "-nvP", "-t", TOKEN], ["zfs", "send", "-t", TOKEN]
    script.say("send", "-nvP", stdout=contents("p/v1@s1"))
    backend.send_resumed(TOKEN)
    assert [plan, LIST_POOL, send] == script.taken()
    for elsewhere in ("q/v1@s1", "p/v1/kid@s1", "p@s1", "p/other@s1"):
        script.say("send", "-nvP", stdout=contents(elsewhere))
        with pytest.raises(InvalidArgument, match="none of a volume here"):
            backend.send_resumed(TOKEN)
        assert send not in script.taken()
    for junk in ("", "-n", f"{TOKEN}\n", f"{TOKEN} p/v1", None):
        with pytest.raises(InvalidArgument, match="no resume token"):
            backend.send_resumed(junk)  # type: ignore[arg-type]
    assert [] == script.taken()


def test_a_receive_is_given_up(script: Streaming) -> None:
    backend = knowing(script)
    backend.abort_receive("v1")
    assert [LIST_POOL, ["zfs", "receive", "-A", "p/v1"]] == script.taken()
    with pytest.raises(VolumeNotFound):
        backend.abort_receive("absent")
    script.fail(
        "receive",
        stderr="'p/v1' does not have any resumable receive state to abort\n",
    )
    with pytest.raises(NotFound):
        backend.abort_receive("v1")
    assert list_one("p/v1") not in script.taken()
