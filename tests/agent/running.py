"""An agent in this process, whose commands a recorder answers."""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from zfsstore.agent import protocol
from zfsstore.agent.audit import file_lines
from zfsstore.agent.client import AgentRunner
from zfsstore.agent.exporting import Exporter
from zfsstore.agent.mounting import Mounter, Owner
from zfsstore.agent.scope import Scope
from zfsstore.agent.server import Access, AgentServer
from zfsstore.agent.worker import Worker
from zfsstore.zfs.runner import RunResult

ROOT = "tank/objects"


class Agent:
    """What a test sees of a running agent."""

    def __init__(self, directory: Path) -> None:
        self.path = str(directory / "agent.sock")
        self.audit = directory / "audit.log"
        self.argvs: list[list[str]] = []
        self.answers: dict[str, RunResult] = {}
        self.before: Callable[[Sequence[str]], None] = lambda argv: None
        self.runner = AgentRunner(self.path, timeout_s=30)

    def run(self, argv: Sequence[str]) -> RunResult:
        """The agent's own runner: notes every command."""
        self.before(argv)
        self.argvs.append(list(argv))
        return self.answers.get(" ".join(argv[:2]), {"success": True, "stdout": "", "stderr": ""})

    def records(self) -> list[dict[str, Any]]:
        """Return what stands in the audit log."""
        return [json.loads(line) for line in self.audit.read_text().splitlines()]

    def raw(self, data: bytes, *, close: bool = True) -> Mapping[str, Any]:
        """Send bytes as they are, return the answer's object."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(30)
            connection.connect(self.path)
            connection.sendall(data)
            if close:
                connection.shutdown(socket.SHUT_WR)
            answer = protocol.receive_answer(connection)
        return answer or {}


@contextmanager
def running(directory: Path, *, uids: Sequence[int] | None = None) -> Iterator[Agent]:
    """Give an agent that answers until the end of the block."""
    agent = Agent(directory)
    scope = Scope((ROOT,))
    mounter = Mounter(scope, agent.run, Owner(os.getuid(), os.getgid()))
    exporter = Exporter(scope, mounter, agent.run, str(directory / "exports.d"))
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(agent.path)
    listener.listen(16)
    server = AgentServer(
        listener,
        access=Access((os.getuid(),) if uids is None else uids),
        scope=scope,
        worker=Worker(scope, agent.run, mounter, exporter),
        sink=file_lines(str(agent.audit)),
        run=agent.run,
    )
    thread = threading.Thread(target=server.serve)
    thread.start()
    try:
        yield agent
    finally:
        server.stop()
        thread.join(30)
        assert not thread.is_alive()
