"""zfsstore-agent as its unit starts it: root with the unit's capabilities and no others."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.host.serving import ROOT, wait_until
from zfsstore.agent.client import AgentRunner
from zfsstore.exports import DEFAULT_DIRECTORY
from zfsstore.zfs.client import ZfsClient

NOBODY = 65534
CAPABILITIES = ("sys_admin", "chown", "dac_override")


class RunningAgent:
    """A process of the agent for one root dataset."""

    def __init__(self, root: str, directory: Path) -> None:
        self.root = root
        self.path = f"/run/zfsstore-test-{secrets.token_hex(4)}.sock"
        self.audit = directory / "audit.log"
        self.exports = Path(DEFAULT_DIRECTORY)
        self.log = directory / "agent.log"
        self.client = ZfsClient(AgentRunner(self.path))
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it answers."""
        bounding = ",".join(("-all", *(f"+{name}" for name in CAPABILITIES)))
        argv = ["setpriv", f"--bounding-set={bounding}", "--no-new-privs", "--"]
        argv += [sys.executable, "-m", "zfsstore.agent", "--root", self.root]
        argv += ["--user", str(NOBODY), "--socket", self.path, "--audit", str(self.audit)]
        with self.log.open("a") as log:
            self._process = subprocess.Popen(
                argv, stderr=log, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}
            )
        wait_until(lambda: "works below" in self.log.read_text() or self._has_ended())
        assert not self._has_ended(), self.log.read_text()

    def end(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and wait; return the exit status."""
        assert self._process is not None
        self._process.send_signal(number)
        status = self._process.wait(60)
        self.log.write_text("")
        return status

    def _has_ended(self) -> bool:
        return self._process is not None and self._process.poll() is not None


@contextmanager
def running_agent(root: str, directory: Path) -> Iterator[RunningAgent]:
    """Give an agent that runs until the end of the block."""
    agent = RunningAgent(root, directory)
    agent.start()
    try:
        yield agent
    finally:
        agent.end()
