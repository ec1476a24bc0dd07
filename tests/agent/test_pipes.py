"""Streams through the agent: real children, a script in place of zfs."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from modules.errors import CommandFailed, Unavailable
from tests.agent.running import ROOT, Agent
from tests.host.serving import wait_until
from zfsstore.agent.client import AgentRunner
from zfsstore.zfs.client import ZfsClient

SCRIPT = """#!/bin/sh
echo $$ >"$0.pid"
case $1 in
send) cat "$0.in"; [ ! -e "$0.forever" ] || exec cat /dev/zero;;
receive|load-key) cat >"$0.out" && echo received; echo end >>"$0.end";;
esac
[ ! -e "$0.fails" ] || { echo "cannot $1: out of luck" >&2; exit 3; }
"""


@pytest.fixture
def zfs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A program called zfs that does what the files beside it say."""
    program = tmp_path / "bin" / "zfs"
    program.parent.mkdir()
    program.write_text(SCRIPT)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    return program


def beside(program: Path, suffix: str) -> Path:
    return program.with_name(f"zfs.{suffix}")


def has_started(program: Path) -> bool:
    pid = beside(program, "pid")
    return pid.exists() and pid.read_text().endswith("\n")


def is_running(program: Path) -> bool:
    pid = beside(program, "pid").read_text().strip()
    return (
        Path(f"/proc/{pid}").exists() and "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    )


def test_a_stream_is_read_to_its_end(agent: Agent, zfs: Path) -> None:
    content = os.urandom(3_000_000)
    beside(zfs, "in").write_bytes(content)
    with ZfsClient(agent.runner).open_send(f"{ROOT}@a") as reader:
        assert content == reader.read()
        assert b"" == reader.read(1)
    (record,) = agent.records()
    assert ("send", "done") == (record["operation"], record["result"])


def test_what_a_sender_died_of_is_told_at_the_end(agent: Agent, zfs: Path) -> None:
    beside(zfs, "in").write_bytes(b"half")
    beside(zfs, "fails").touch()
    with ZfsClient(agent.runner).open_send(f"{ROOT}@a") as reader:
        assert b"half" == reader.read(10)
        with pytest.raises(CommandFailed, match="out of luck"):
            reader.read(10)


def test_a_reader_that_is_dropped_ends_the_sender(agent: Agent, zfs: Path) -> None:
    beside(zfs, "in").write_bytes(b"x")
    beside(zfs, "forever").touch()
    reader = agent.runner.open_read(["zfs", "send", f"{ROOT}@a"])
    assert reader.read(1)
    assert is_running(zfs)
    reader.close()
    assert not is_running(zfs)
    (record,) = agent.records()
    assert "aborted" == record["result"]


def test_a_key_goes_through_a_pipe_and_stands_in_no_log(agent: Agent, zfs: Path) -> None:
    ZfsClient(agent.runner).load_key(f"{ROOT}/acme", b"correct horse battery")
    assert b"correct horse battery" == beside(zfs, "out").read_bytes()
    assert "horse" not in agent.audit.read_text()
    (record,) = agent.records()
    assert ("load_key", {"dataset": f"{ROOT}/acme"}) == (record["operation"], record["arguments"])


def test_a_writer_that_is_dropped_kills_before_the_input_ends(agent: Agent, zfs: Path) -> None:
    with agent.runner.open_write(["zfs", "load-key", "-L", "prompt", f"{ROOT}/acme"]) as writer:
        writer.write(b"half a key")
        wait_until(lambda: has_started(zfs))
    assert not is_running(zfs)
    assert not beside(zfs, "end").exists()


def test_a_writer_is_told_what_its_command_died_of(agent: Agent, zfs: Path) -> None:
    beside(zfs, "fails").touch()
    with pytest.raises(CommandFailed, match="out of luck") as caught:
        ZfsClient(agent.runner).load_key(f"{ROOT}/acme", b"key")
    assert 3 == caught.value.exit_code


def test_the_agents_end_during_a_stream_is_an_error(tmp_path: Path) -> None:
    path = str(tmp_path / "agent.sock")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(path)
        listener.listen()
        threading.Thread(target=lambda: listener.accept()[0].close()).start()
        with (
            AgentRunner(path).open_read(["zfs", "send", f"{ROOT}@a"]) as reader,
            pytest.raises(Unavailable, match="ended before"),
        ):
            reader.read()
