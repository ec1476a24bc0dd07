"""Runners for this machine."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from typing import Final

from modules.errors import CommandTimeout
from zfsstore.zfs import process
from zfsstore.zfs.seam import CommandReader, CommandWriter, Runner, RunResult, StreamRunner
from zfsstore.zfs.streams import STALL_S, ProcessReader, ProcessWriter

__all__ = [
    "TIMEOUT_S",
    "CommandReader",
    "CommandWriter",
    "LocalRunner",
    "RunResult",
    "Runner",
    "StreamRunner",
    "run_to_end",
    "sudo_runner",
]

TIMEOUT_S: Final = 120.0
_NOT_FOUND: Final = 127


class LocalRunner:
    """Runs commands on this machine, in the C locale and without standard input.

    Args:
        prefix: put before every argv.
        timeout_s: after which a command is killed.
        stall_s: after which a stream that does not move is killed.
    """

    def __init__(
        self,
        *,
        prefix: Sequence[str] = (),
        timeout_s: float = TIMEOUT_S,
        stall_s: float = STALL_S,
    ) -> None:
        self._prefix = tuple(prefix)
        self._timeout_s = timeout_s
        self._stall_s = stall_s

    def __call__(self, argv: Sequence[str]) -> RunResult:
        """Run *argv* to its end.

        Raises:
            CommandTimeout: it took too long and was killed.
        """
        return run_to_end([*self._prefix, *argv], timeout_s=self._timeout_s)

    def open_read(self, argv: Sequence[str]) -> ProcessReader:
        """Start a command whose output is to be read."""
        return ProcessReader([*self._prefix, *argv], stall_s=self._stall_s)

    def open_write(self, argv: Sequence[str]) -> ProcessWriter:
        """Start a command whose input is to be written."""
        return ProcessWriter([*self._prefix, *argv], stall_s=self._stall_s)

    def with_timeout(self, timeout_s: float) -> LocalRunner:
        """Return a runner like this one with another timeout."""
        return LocalRunner(prefix=self._prefix, timeout_s=timeout_s, stall_s=self._stall_s)


def sudo_runner(*, timeout_s: float = TIMEOUT_S) -> LocalRunner:
    """Return a runner that goes through ``sudo -n``. Who may use it is as good as root."""
    return LocalRunner(prefix=("sudo", "-n"), timeout_s=timeout_s)


def run_to_end(argv: Sequence[str], *, timeout_s: float) -> RunResult:
    """Run *argv* on this machine to its end; a program that is not there is a result, too.

    Raises:
        CommandTimeout: it took too long and was killed, with all that it had started.
    """
    try:
        child = process.start(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    except OSError as error:
        message = f"{argv[0]}: {error.strerror or error}"
        return {"success": False, "stderr": message, "exit_code": _NOT_FOUND}
    try:
        stdout, stderr = child.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired as error:
        raise CommandTimeout(
            f"it did not end within {timeout_s:g} s and was killed",
            argv=argv,
            timeout_s=timeout_s,
            operation="run",
            subject=" ".join(argv[:3]),
            hint="is the pool suspended? see `zpool status`",
        ) from error
    finally:
        if child.returncode is None:
            process.end(child)
        for pipe in filter(None, (child.stdout, child.stderr)):
            pipe.close()
    return {
        "success": child.returncode == 0,
        "stdout": process.decode(stdout),
        "stderr": process.decode(stderr),
        "exit_code": child.returncode,
    }
