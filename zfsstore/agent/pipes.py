"""One command with a client's pipe as its output or input: no byte goes through the agent."""

from __future__ import annotations

import os
import select
import socket
import subprocess
from collections.abc import Sequence

from zfsstore.agent.mounting import failure
from zfsstore.zfs import process
from zfsstore.zfs.process import Child, Drain
from zfsstore.zfs.seam import RunResult


class PipedRunner:
    """Runs commands whose output, or input, is *pipe*; ends them when the client goes away.

    Args:
        pipe: the descriptor, which this closes.
        is_output: True when the command writes into it.
        connection: of the client; anything that comes, and its end, means that it gave up.
    """

    def __init__(self, pipe: int, connection: socket.socket, *, is_output: bool) -> None:
        self._pipe = pipe
        self._connection = connection
        self._is_output = is_output
        self.was_aborted = False

    def __call__(self, argv: Sequence[str]) -> RunResult:
        """Run the one command that the pipe is for."""
        out, into = (self._pipe, subprocess.DEVNULL), (subprocess.PIPE, self._pipe)
        stdout, stdin = out if self._is_output else into
        try:
            child = process.start(argv, stdin=stdin, stdout=stdout)
        except OSError as error:
            return failure(f"{argv[0]}: {error.strerror or error}")
        finally:
            self.close()  # ours would keep the other end from seeing the command's end
        drains = [
            Drain(pipe) if pipe is not None else None for pipe in (child.stdout, child.stderr)
        ]
        self._wait(child)
        said, complained = ("" if drain is None else drain.text() for drain in drains)
        if self.was_aborted:
            return failure("the client gave up, and it was killed")
        return {
            "success": child.returncode == 0,
            "stdout": said,
            "stderr": complained,
            "exit_code": child.returncode,
        }

    def close(self) -> None:
        """Close the pipe, if that has not been done."""
        pipe, self._pipe = self._pipe, -1
        if pipe >= 0:
            os.close(pipe)

    def _wait(self, child: Child) -> None:
        ended = os.pidfd_open(child.pid)
        try:
            poll = select.poll()
            poll.register(ended, select.POLLIN)
            poll.register(self._connection, select.POLLIN)
            events = {fd for fd, _event in poll.poll()}
            if ended not in events:
                self.was_aborted = True
                process.end(child)
        finally:
            os.close(ended)
        child.wait()
