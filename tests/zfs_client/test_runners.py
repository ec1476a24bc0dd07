"""Runners around runners: recording, dry run, timeout; and how they compose."""

from __future__ import annotations

import json
import logging
import stat
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from modules.errors import CommandFailed, CommandTimeout, NotSupported
from tests.zfs_client.recording import Recorder
from zfsstore.zfs.client import ZfsClient
from zfsstore.zfs.dry_run import DryRunRunner, is_reading
from zfsstore.zfs.recording import Record, RecordingRunner, json_lines, logger_lines
from zfsstore.zfs.runner import LocalRunner
from zfsstore.zfs.seam import Runner, RunResult, StreamRunner
from zfsstore.zfs.timeouts import TimeoutRunner


def sh(script: str) -> list[str]:
    return ["sh", "-c", script]


# --- recording


def test_every_command_is_a_line_of_json_in_a_private_file(tmp_path: Path) -> None:
    log = tmp_path / "audit.jsonl"
    runner = RecordingRunner(LocalRunner(), json_lines(str(log)))
    runner(["echo", "ü"])
    runner(sh("echo 'no such\nthing' >&2; exit 4"))
    one, two = map(json.loads, log.read_text().splitlines())
    assert (one["argv"], one["exit_code"], one["success"]) == (["echo", "ü"], 0, True)
    assert (two["exit_code"], two["success"], two["error"]) == (4, False, "no such")
    assert one["at"].endswith("Z")
    assert 0 <= one["duration_s"] < 60
    assert stat.S_IMODE(log.stat().st_mode) == 0o600


def test_a_runner_that_raises_is_recorded() -> None:
    records: list[Record] = []
    runner = RecordingRunner(LocalRunner(timeout_s=0.05), records.append)
    with pytest.raises(CommandTimeout):
        runner(["sleep", "60"])
    assert [record["success"] for record in records] == [False]
    assert "did not end" in records[0]["error"]


def test_users_and_passwords_in_urls_are_left_out() -> None:
    records: list[Record] = []
    RecordingRunner(Recorder(), records.append)(
        ["zfs", "load-key", "-L", "https://me:secret@keys/one", "t/a"]
    )
    assert records[0]["argv"][3] == "https://***@keys/one"


def test_a_log_that_fails_does_not_fail_the_command(caplog: pytest.LogCaptureFixture) -> None:
    def broken(record: Record) -> None:
        raise OSError("disk full")

    assert RecordingRunner(LocalRunner(), broken)(["true"])["success"]
    assert "cannot record the command" in caplog.text


def test_a_logger_as_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    RecordingRunner(LocalRunner(), logger_lines(logging.getLogger("audit")))(["true"])
    assert json.loads(caplog.messages[0])["argv"] == ["true"]


def test_streams_are_recorded_when_they_end() -> None:
    records: list[Record] = []
    runner = RecordingRunner(LocalRunner(), records.append)
    with runner.open_read(sh("echo hello")) as reader:
        reader.read(100)
        assert records == []
        assert reader.read(100) == b""
    with runner.open_read(sh("echo; sleep 60")) as reader:
        reader.read(1)
    with runner.open_read(sh("exit 3")) as reader, pytest.raises(CommandFailed):
        reader.read()
    with runner.open_write(sh("cat > /dev/null")) as writer:
        writer.write(b"12345")
        writer.finish()
    with runner.open_write(sh("cat > /dev/null")) as writer:
        writer.write(b"1")
    with pytest.raises(CommandFailed):
        runner.open_read(["no-such-program-here"])
    ends = [(r["success"], r.get("exit_code"), r.get("size_bytes")) for r in records]
    assert ends == [
        (True, 0, 6),
        (False, None, 1),
        (False, 3, 0),
        (True, 0, 5),
        (False, None, 1),
        (False, 127, None),
    ]


# --- dry run


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("zfs list -Hp t", True),
        ("/usr/sbin/zfs get all t", True),
        ("zfs version", True),
        ("zfs allow t", True),
        ("zfs allow bob create t", False),
        ("zfs destroy -nvp -r t", True),
        ("zfs destroy -r t", False),
        ("zfs destroy t@name", False),
        ("zfs send -nvP t@1", True),
        ("zfs send t@1", False),
        ("zfs receive -xmountpoint t", False),
        ("zfs receive -n t", True),
        ("zfs snapshot t@1", False),
        ("zfs mount", True),
        ("zfs mount t", False),
        ("zpool status", True),
        ("zpool scrub t", False),
        ("chown root /t", False),
        ("zfs", False),
    ],
)
def test_which_commands_change_nothing(line: str, expected: bool) -> None:
    assert is_reading(line.split()) is expected


def test_a_dry_run_keeps_what_it_does_not_run(tmp_path: Path) -> None:
    inner = Recorder({"zfs list": "t/a\n"})
    runner = DryRunRunner(inner)
    client = ZfsClient(runner)
    client.snapshot(["t/a@b c"])
    client.set("t/a", {"quota": "5"})
    runner(["touch", str(tmp_path / "x")])
    client.holds(["t/a@1"])
    assert runner.planned[:2] == [("zfs", "snapshot", "t/a@b c"), ("zfs", "set", "quota=5", "t/a")]
    assert runner.format_plan().startswith("zfs snapshot 't/a@b c'\nzfs set quota=5 t/a\ntouch ")
    assert [argv[1] for argv in inner.argvs] == ["holds"]
    assert list(tmp_path.iterdir()) == []


def test_a_dry_run_sends_and_receives_nothing(tmp_path: Path) -> None:
    runner = DryRunRunner(LocalRunner())
    with runner.open_read(["zfs", "send", "t@1"]) as reader:
        assert reader.read(100) == b""
    with runner.open_write(sh(f"cat > {tmp_path}/x")) as writer:
        writer.write(b"1")
        writer.finish()
    assert len(runner.planned) == 2
    assert list(tmp_path.iterdir()) == []


# --- timeout


def test_our_own_runner_is_killed_in_time() -> None:
    with pytest.raises(CommandTimeout) as caught:
        TimeoutRunner(LocalRunner(), 0.05)(["sleep", "60"])
    assert caught.value.timeout_s == 0.05


def test_any_other_callable_is_left_to_itself() -> None:
    release = threading.Event()

    def slow(argv: Sequence[str]) -> RunResult:
        release.wait(60)
        return {"success": True}

    try:
        with pytest.raises(CommandTimeout, match="may still run"):
            TimeoutRunner(slow, 0.05)(["zfs", "list"])
    finally:
        release.set()
    assert TimeoutRunner(slow, 60)(["zfs", "list"]) == {"success": True}


def test_an_error_of_any_other_callable_comes_through() -> None:
    def broken(argv: Sequence[str]) -> RunResult:
        raise RuntimeError("boom")

    with pytest.raises(RuntimeError, match="boom"):
        TimeoutRunner(broken, 60)(["zfs", "list"])


def test_a_command_that_leaves_a_child_behind_ends_in_time() -> None:
    with pytest.raises(CommandTimeout):
        LocalRunner(timeout_s=0.2)(sh("sleep 60 & echo started"))


# --- composing


def wrapped(inner: Runner, records: list[Record]) -> list[Any]:
    return [
        RecordingRunner(TimeoutRunner(inner, 5), records.append),
        TimeoutRunner(RecordingRunner(inner, records.append), 5),
        DryRunRunner(RecordingRunner(TimeoutRunner(inner, 5), records.append)),
        TimeoutRunner(DryRunRunner(RecordingRunner(inner, records.append)), 5),
    ]


def test_wrappers_compose_in_any_order() -> None:
    records: list[Record] = []
    for runner in wrapped(LocalRunner(), records):
        assert isinstance(runner, StreamRunner)
        assert runner(["zfs", "version"])["success"] in (True, False)
    assert [record["argv"] for record in records] == [["zfs", "version"]] * 4


def test_a_timeout_around_the_others_kills_the_command() -> None:
    records: list[Record] = []
    runner = TimeoutRunner(RecordingRunner(LocalRunner(), records.append), 0.05)
    with pytest.raises(CommandTimeout, match="was killed"):
        runner(["sleep", "60"])
    assert len(records) == 1


def test_a_plan_is_kept_through_a_timeout() -> None:
    dry = DryRunRunner(LocalRunner())
    TimeoutRunner(dry, 5)(["zfs", "destroy", "t"])
    assert dry.planned == [("zfs", "destroy", "t")]


def test_a_runner_without_streams_says_so() -> None:
    for runner in wrapped(Recorder(), []):
        if not isinstance(runner, DryRunRunner):
            with pytest.raises(NotSupported):
                runner.open_read(["zfs", "send", "-nvP", "t@1"])
