"""Send, receive and keys: argv, refusals, parsing; with shell scripts for zfs."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from modules.errors import (
    AlreadyExists,
    CommandFailed,
    InvalidArgument,
    InvalidName,
    NotSupported,
    StorageError,
)
from tests.zfs_client.recording import Recorder
from zfsstore.zfs.client import ZfsClient
from zfsstore.zfs.errors import InvalidStream, KeyNotLoaded
from zfsstore.zfs.runner import LocalRunner, RunResult
from zfsstore.zfs.seam import CommandReader, CommandWriter
from zfsstore.zfs.stream_commands import (
    ResumeToken,
    SendFlags,
    SendPlan,
    SendStep,
    parse_send_plan,
    parse_token,
)
from zfsstore.zfs.transfer import copy_stream

Call = Callable[[ZfsClient], object]
TOKEN = "1-937c250f2-b0-789c63"
CONTENTS = (
    "resume token contents:\nnvlist version: 0\n\tobject = 0x85\n\toffset = 0xc0000\n"
    "\tbytes = 0xede20\n\ttoguid = 0x580819ca5783052b\n\ttoname = tp/a@s1\n"
    "full\ttp/a@s1\t2063064\nsize\t2063064\n"
)


class Script:
    """A runner that runs one script for whatever is to be run, and remembers what that was."""

    def __init__(self, script: str) -> None:
        self.argvs: list[list[str]] = []
        self._script = ["sh", "-c", script]

    def __call__(self, argv: Sequence[str]) -> RunResult:
        self.argvs.append(list(argv))
        return LocalRunner()(self._script)

    def open_read(self, argv: Sequence[str]) -> CommandReader:
        self.argvs.append(list(argv))
        return LocalRunner().open_read(self._script)

    def open_write(self, argv: Sequence[str]) -> CommandWriter:
        self.argvs.append(list(argv))
        return LocalRunner().open_write(self._script)


ARGVS: list[tuple[Call, str]] = [
    (lambda c: c.open_send("t/a@2"), "zfs send t/a@2"),
    (lambda c: c.open_send("t/a@2", base="t/a@1"), "zfs send -i t/a@1 t/a@2"),
    (lambda c: c.open_send("t/a@2", base="t/a#m"), "zfs send -i t/a#m t/a@2"),
    (
        lambda c: c.open_send("t/a@2", base="t/a@1", intermediates=True),
        "zfs send -I t/a@1 t/a@2",
    ),
    (
        lambda c: c.open_send(
            "t/a@2",
            flags=SendFlags(
                raw=True, compressed=True, large_blocks=True, embedded=True, properties=True
            ),
        ),
        "zfs send -w -c -L -e -p t/a@2",
    ),
    (lambda c: c.open_resumed_send(TOKEN), f"zfs send -t {TOKEN}"),
    (lambda c: c.open_receive("t/b"), "zfs receive -u t/b"),
    (
        lambda c: c.open_receive(
            "t/b",
            resumable=True,
            mount=True,
            rollback=True,
            properties={"readonly": "on"},
            exclude=["mountpoint"],
        ),
        "zfs receive -s -F -o readonly=on -x mountpoint t/b",
    ),
    (lambda c: c.abort_receive("t/b"), "zfs receive -A t/b"),
    (lambda c: c.load_key("t/e"), "zfs load-key t/e"),
    (lambda c: c.load_key("t/e", b"secret", recursive=True), "zfs load-key -r -L prompt t/e"),
    (lambda c: c.unload_key("t/e"), "zfs unload-key t/e"),
    (
        lambda c: c.create_encrypted("t/e", {"keyformat": "raw"}, b"k" * 32),
        "zfs create -o encryption=on -o keyformat=raw -o keylocation=prompt t/e",
    ),
]


@pytest.mark.parametrize(("call", "expected"), ARGVS, ids=[argv for _call, argv in ARGVS])
def test_argv(call: Call, expected: str) -> None:
    runner = Script("cat > /dev/null")
    call(ZfsClient(runner))
    assert expected == " ".join(runner.argvs[-1])


def test_plans_are_dry_runs() -> None:
    runner = Recorder({"zfs send": CONTENTS})
    client = ZfsClient(runner)
    assert client.plan_send("t/a@2", base="t/a#m").size_bytes == 2063064
    assert runner.last == "zfs send -nvP -i t/a#m t/a@2"
    assert client.read_token(TOKEN).snapshot == "tp/a@s1"
    assert runner.last == f"zfs send -nvP -t {TOKEN}"


@pytest.mark.parametrize(
    "call",
    [
        lambda c: c.open_send("t/a"),
        lambda c: c.open_send("t/a@1", base="@0"),
        lambda c: c.open_send("t/a@1", base="-i"),
        lambda c: c.open_send("t/a@2", base="t/a#1", intermediates=True),
        lambda c: c.open_send("t/a@2", intermediates=True),
        lambda c: c.open_resumed_send("-n"),
        lambda c: c.read_token("1-2-3"),
        lambda c: c.read_token(f"{TOKEN}\n"),
        lambda c: c.open_receive("t/b@1"),
        lambda c: c.open_receive("t/b", properties={"a:b": "x\ny"}),
        lambda c: c.open_receive("t/b", exclude=["mountpoint -F"]),
        lambda c: c.load_key("t@e"),
    ],
)
def test_malformed_input_is_refused_before_any_command(call: Call) -> None:
    runner = Script("true")
    with pytest.raises((InvalidName, InvalidArgument)):
        call(ZfsClient(runner))
    assert runner.argvs == []


def test_send_plan() -> None:
    stdout = "full\tt/a@1\t100\nincremental\t1\tt/a@2\t7\nsize\t107\n"
    steps = (SendStep("t/a@1", None, 100), SendStep("t/a@2", "1", 7))
    assert parse_send_plan(stdout) == SendPlan(steps, 107)
    with pytest.raises(CommandFailed, match="not understood"):
        parse_send_plan("full\tt/a@1\t100\n")


def test_token() -> None:
    plan = SendPlan((SendStep("tp/a@s1", None, 2063064),), 2063064)
    assert parse_token(CONTENTS) == ResumeToken("tp/a@s1", 0x580819CA5783052B, 0xEDE20, plan)
    with pytest.raises(CommandFailed, match="not understood"):
        parse_token(CONTENTS.replace("toguid", "guid"))


def test_what_a_send_died_of_is_told_where_the_stream_ends() -> None:
    client = ZfsClient(
        Script(
            "echo half; echo \"warning: cannot send 't@1': dataset key must be loaded\" >&2; exit 1"
        )
    )
    with client.open_send("t@1") as stream:
        assert stream.read(100) == b"half\n"
        with pytest.raises(KeyNotLoaded) as caught:
            stream.read(100)
    assert str(caught.value).startswith("cannot send snapshot t@1: warning: cannot send")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("cannot receive: invalid stream (bad magic number)", InvalidStream),
        (
            "cannot receive new filesystem stream: destination 't/b' exists\n"
            "must specify -F to overwrite it",
            AlreadyExists,
        ),
    ],
)
def test_what_a_receive_died_of_is_told_by_finish(text: str, expected: type[StorageError]) -> None:
    client = ZfsClient(Script(f'cat > /dev/null; echo "{text}" >&2; exit 1'))
    with client.open_receive("t/b") as sink:
        sink.write(b"stream")
        with pytest.raises(expected, match="cannot receive dataset t/b"):
            sink.finish()


def test_a_program_that_is_not_there() -> None:
    class Absent(Script):
        def open_read(self, argv: Sequence[str]) -> CommandReader:
            return LocalRunner().open_read(["no-such-program-here"])

    with pytest.raises(CommandFailed, match="No such file"):
        ZfsClient(Absent("")).open_send("t@1")


def test_a_runner_that_cannot_stream_says_so() -> None:
    with pytest.raises(NotSupported, match="open_read"):
        ZfsClient(Recorder()).open_send("t@1")


def test_the_key_is_in_no_argument() -> None:
    runner = Script(
        '[ "$(cat)" = "correct horse" ] || { echo "Incorrect key provided" >&2; exit 1; }'
    )
    ZfsClient(runner).load_key("t/e", b"correct horse")
    assert "horse" not in str(runner.argvs)
    with pytest.raises(InvalidArgument) as caught:
        ZfsClient(runner).load_key("t/e", b"battery staple")
    assert "staple" not in str(caught.value)


@pytest.mark.parametrize("verb", ["load", "unload"])
def test_done_already_is_done(verb: str) -> None:
    text = f"Key {verb} error: Key already {verb}ed for 't/e'."
    client = ZfsClient(Recorder(failure=text))
    getattr(client, f"{verb}_key")("t/e")


# --- from a source to a receive


def test_copy_tells_progress_and_finishes() -> None:
    sink = Script("cat")
    seen: list[int] = []
    writer = ZfsClient(sink).open_receive("t/b")
    assert copy_stream(io.BytesIO(b"x" * 3_000_000), writer, on_progress=seen.append) == 3_000_000
    assert seen == sorted(seen)
    assert seen[-1] == 3_000_000
    assert len(writer.finish()) == 64 * 1024  # what is kept of a receive's output


def test_a_source_that_fails_aborts_the_receive(tmp_path: Path) -> None:
    client = ZfsClient(Script("head -c 3000000 /dev/zero; echo 'signal received' >&2; exit 1"))
    sink = ZfsClient(Script(f"cat > /dev/null; touch {tmp_path}/complete"))
    with client.open_send("t@1") as source, pytest.raises(CommandFailed, match="signal received"):
        copy_stream(source, sink.open_receive("t/b"))
    assert list(tmp_path.iterdir()) == []


def test_a_receive_that_fails_is_what_is_raised() -> None:
    client = ZfsClient(Script("cat /dev/zero"))
    sink = ZfsClient(
        Script("head -c 10 > /dev/null; echo 'cannot receive: out of space' >&2; exit 1")
    )
    with client.open_send("t@1") as source, pytest.raises(StorageError, match="out of space"):
        copy_stream(source, sink.open_receive("t/b"))


def test_progress_that_raises_ends_the_copy() -> None:
    def cancel(size: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        copy_stream(
            io.BytesIO(b"x"), ZfsClient(Script("cat")).open_receive("t/b"), on_progress=cancel
        )
