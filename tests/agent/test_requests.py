"""Requests as they may come over the socket, from friend and foe."""

from __future__ import annotations

import json
import os
import socket
import struct
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from modules.errors import (
    CommandFailed,
    InvalidArgument,
    NotSupported,
    PermissionDenied,
    StorageError,
    Unavailable,
)
from tests.agent.running import ROOT, Agent, running
from zfsstore.agent import protocol
from zfsstore.agent.client import AgentRunner
from zfsstore.agent.exports import AgentExports
from zfsstore.exports import Export
from zfsstore.zfs.client import ZfsClient

VERSION = {"version": 1, "argv": ["zfs", "version"]}


def frame(value: object) -> bytes:
    data = json.dumps(value).encode()
    return struct.pack(">I", len(data)) + data


def test_an_answer_is_what_the_command_did(agent: Agent) -> None:
    agent.answers["zfs version"] = {
        "success": False,
        "stdout": "a\n",
        "stderr": "Ärger \udcff\n",
        "exit_code": 7,
    }
    result = agent.runner(["zfs", "version"])
    assert agent.answers["zfs version"] == result


def test_a_failure_is_classified_as_without_an_agent(agent: Agent) -> None:
    agent.answers["zfs hold"] = {
        "success": False,
        "stderr": f"cannot hold snapshot '{ROOT}@a': no such pool: it went away\n",
    }
    with pytest.raises(StorageError, match="it went away"):
        ZfsClient(agent.runner).hold("keep", [f"{ROOT}@a"])


@pytest.mark.parametrize(
    ("argv", "kind"),
    [
        (["zfs", "destroy", "-r", "tank/home"], PermissionDenied),
        (["zfs", "allow", "bob", "mount", ROOT], NotSupported),
        (["zfs", "set", "mountpoint=/etc", f"{ROOT}/acme"], PermissionDenied),
        (["zfs", "create", "-p", f"{ROOT}/acme"], InvalidArgument),
        (["zfs", "send", f"{ROOT}@a"], InvalidArgument),  # without a pipe
    ],
)
def test_what_is_refused_runs_nothing(
    agent: Agent, argv: list[str], kind: type[StorageError]
) -> None:
    with pytest.raises(kind):
        agent.runner(argv)
    assert [] == agent.argvs
    (record,) = agent.records()
    assert "refused" == record["result"]
    assert os.getuid() == record["uid"]


def test_the_audit_log_says_who_did_what_and_how_it_went(agent: Agent) -> None:
    ZfsClient(agent.runner).set(f"{ROOT}/acme", {"quota": "1G"})
    (record,) = agent.records()
    assert ("set_properties", "done") == (record["operation"], record["result"])
    assert {"name": f"{ROOT}/acme", "properties": {"quota": "1G"}} == record["arguments"]
    assert os.getpid() == record["pid"]
    assert record["duration_s"] >= 0
    assert record["at"].endswith("Z")


@pytest.mark.parametrize(
    "data",
    [
        struct.pack(">I", 0),
        struct.pack(">I", protocol.MAX_REQUEST_BYTES + 1),
        b"\xff\xff\xff\xff",
        b"GET / HTTP/1.1\r\n\r\n",
        b"\0",
        struct.pack(">I", 100) + b"{",
        struct.pack(">I", 2) + b"[]",
        struct.pack(">I", 3) + b"\xff\xfe{",
        frame("text"),
        frame([[[[]]]]),
        frame({}),
        frame({"version": 2, "argv": ["zfs", "version"]}),
        frame({"version": True, "argv": ["zfs", "version"]}),
        frame({**VERSION, "shell": "id"}),
        frame({"version": 1, "argv": "zfs version"}),
        frame({"version": 1, "argv": ["zfs", 1]}),
        frame({"version": 1, "argv": ["zfs", "version\0"]}),
        frame({"version": 1, "argv": []}),
        frame({"version": 1, "argv": ["zfs"] * (protocol.MAX_WORDS + 1)}),
        frame({**VERSION, "stream": "both"}),
        frame({**VERSION, "stream": "read"}),
        frame({**VERSION, "timeout_s": -1}),
        frame({**VERSION, "export": {}}),
        frame({"version": 1, "export": {"action": "export", "dataset": "tank/home"}}),
        frame({"version": 1, "export": {"action": "ask", "dataset": [1]}}),
        struct.pack(">I", 200_000) + b"[" * 200_000,
    ],
)
def test_a_malformed_request_is_refused(agent: Agent, data: bytes) -> None:
    answer = agent.raw(data)
    assert answer["error"]["kind"] in ("InvalidArgument", "PermissionDenied")
    assert [] == agent.argvs
    assert agent.runner(["zfs", "version"])["success"]  # it goes on


def test_a_request_that_does_not_come_is_given_up(
    agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "REQUEST_S", 0.2)
    whole = frame(VERSION)
    for half in (b"\0", whole[:4], whole[:-1]):
        assert "did not come in whole" in agent.raw(half, close=False)["error"]["reason"]


def test_a_connection_without_a_word_is_no_request(agent: Agent) -> None:
    assert {} == agent.raw(b"")
    assert not agent.audit.exists()


@pytest.mark.parametrize("count", [1, 2, 5])
def test_a_descriptor_that_nobody_asked_for_is_refused(agent: Agent, count: int) -> None:
    outer, inner = os.pipe()
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.connect(agent.path)
            socket.send_fds(connection, [frame(VERSION)], [inner] * count)
            answer = protocol.receive_answer(connection)
        assert answer is not None
        assert "descriptor" in answer["error"]["reason"]
        os.close(inner)
        inner = -1
        assert b"" == os.read(outer, 1)  # the agent has closed all of its own
    finally:
        os.close(outer)
        if inner >= 0:
            os.close(inner)


def test_only_a_pipe_is_taken_for_a_stream(agent: Agent, tmp_path: Path) -> None:
    request = {"version": 1, "argv": ["zfs", "send", f"{ROOT}@a"], "stream": "read"}
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection,
        (tmp_path / "file").open("w") as file,
    ):
        connection.connect(agent.path)
        socket.send_fds(connection, [frame(request)], [file.fileno()])
        answer = protocol.receive_answer(connection)
    assert answer is not None
    assert "pipe" in answer["error"]["reason"]


def test_a_foreign_user_is_refused(tmp_path: Path) -> None:
    with running(tmp_path, uids=()) as agent:
        os.chmod(tmp_path, 0o755)
        os.chmod(agent.path, 0o666)
        outer, inner = os.pipe()
        child = os.fork()
        if child == 0:
            _ask_as_nobody(tmp_path, inner)
        os.close(inner)
        with open(outer, "rb") as pipe:
            received = pipe.read()
        os.waitpid(child, 0)
        answer = json.loads(received[4:])
        assert "PermissionDenied" == answer["error"]["kind"]
        assert [] == agent.argvs
        (record,) = agent.records()
        assert "refused" == record["result"]
        assert "operation" not in record  # what it wanted was not even read


def _ask_as_nobody(directory: Path, pipe: int) -> None:
    """In a child: ask as a user who is not root, and write the answer into *pipe*."""
    try:
        os.chdir(directory)
        if os.getuid() == 0:
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.connect("agent.sock")
            with suppress(BrokenPipeError):  # it answers without listening
                connection.sendall(frame(VERSION))
            while block := connection.recv(65536):
                os.write(pipe, block)
    finally:
        os._exit(0)


def test_requests_are_answered_at_the_same_time(agent: Agent) -> None:
    together = threading.Barrier(8, timeout=30)
    agent.before = lambda argv: (together.wait(), None)[1]
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda _: agent.runner(["zfs", "version"]), range(8)))
    assert all(result["success"] for result in results)


def test_an_absent_agent_is_named(tmp_path: Path) -> None:
    path = str(tmp_path / "agent.sock")
    with pytest.raises(Unavailable) as caught:
        AgentRunner(path)(["zfs", "version"])
    assert path in str(caught.value)
    assert "systemctl start zfsstore-agent.socket" in str(caught.value)
    with pytest.raises(Unavailable):
        AgentRunner(path).open_read(["zfs", "send", "tank/objects@a"])


def test_a_host_outlives_its_agent(tmp_path: Path) -> None:
    with running(tmp_path) as agent:
        runner = agent.runner
        assert runner(["zfs", "version"])["success"]
    with pytest.raises(Unavailable):
        runner(["zfs", "version"])
    os.unlink(agent.path)
    with running(tmp_path):
        assert runner(["zfs", "version"])["success"]


def test_an_agent_that_ends_in_the_middle_is_an_error(tmp_path: Path) -> None:
    path = str(tmp_path / "agent.sock")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(path)
        listener.listen()
        threading.Thread(target=lambda: listener.accept()[0].close()).start()
        with pytest.raises(Unavailable, match="may have run"):
            AgentRunner(path)(["zfs", "version"])


def test_an_export_is_read_only_and_of_a_mounted_dataset(agent: Agent) -> None:
    export = Export("acme", "", f"{ROOT}/acme", "/etc", "5d3e9c57-8c4e-4f5e-9d2b-6f1a2b3c4d5e")
    with pytest.raises(PermissionDenied, match="read-only"):
        AgentExports(agent.path, ["10.0.0.1"], options=["rw"]).export(export)
    with pytest.raises(PermissionDenied, match="no_root_squash"):
        AgentExports(agent.path, ["10.0.0.1"], options=["no_root_squash"]).export(export)
    with pytest.raises(InvalidArgument, match="not mounted"):
        AgentExports(agent.path, ["10.0.0.1"]).export(export)
    outside = Export("etc", "", "tank/home", "/etc", export.fsid)
    with pytest.raises(PermissionDenied, match="not below a root"):
        AgentExports(agent.path, ["10.0.0.1"]).export(outside)
    assert not AgentExports(agent.path).is_exported(export)
    assert [] == agent.argvs


def test_a_command_that_is_not_there_fails_as_without_an_agent(agent: Agent) -> None:
    agent.answers["zfs set"] = {"success": False, "stderr": "zfs: No such file", "exit_code": 127}
    with pytest.raises(CommandFailed) as caught:
        ZfsClient(agent.runner).set(f"{ROOT}/acme", {"quota": "1G"})
    assert 127 == caught.value.exit_code
