"""How a command is run: the one seam between us and the zfs programs.

A runner is any callable that takes an argv and returns a :class:`RunResult`; it sees every
command, so it can record, refuse, or reach another machine. argv only, never a shell string.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Sequence
from typing import Final, NotRequired, TypedDict

from modules.errors import CommandTimeout

TIMEOUT_S: Final = 120.0
_EXTRA_PATH: Final = "/usr/local/sbin:/usr/sbin:/sbin"
_NOT_FOUND: Final = 127


class RunResult(TypedDict):
    """What a command did; ``stdout`` and ``stderr`` are "" when left out."""

    success: bool
    stdout: NotRequired[str]
    stderr: NotRequired[str]
    exit_code: NotRequired[int]


Runner = Callable[[Sequence[str]], RunResult]


class LocalRunner:
    """Runs commands on this machine, in the C locale and without standard input.

    Args:
        prefix: put before every argv.
        timeout_s: after which a command is killed.
    """

    def __init__(self, *, prefix: Sequence[str] = (), timeout_s: float = TIMEOUT_S) -> None:
        self._prefix = tuple(prefix)
        self._timeout_s = timeout_s

    def __call__(self, argv: Sequence[str]) -> RunResult:
        """Run *argv* to its end.

        Raises:
            CommandTimeout: it took too long and was killed.
        """
        full = [*self._prefix, *argv]
        path = f"{os.environ.get('PATH', os.defpath)}:{_EXTRA_PATH}"
        try:
            done = subprocess.run(
                full,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=self._timeout_s,
                env=os.environ | {"LC_ALL": "C", "PATH": path},
                encoding="utf-8",
                errors="surrogateescape",
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise CommandTimeout(
                f"it did not end within {self._timeout_s:g} s and was killed",
                argv=full,
                timeout_s=self._timeout_s,
                operation="run",
                subject=" ".join(full[:3]),
                hint="is the pool suspended? see `zpool status`",
            ) from error
        except OSError as error:
            message = f"{full[0]}: {error.strerror or error}"
            return {"success": False, "stderr": message, "exit_code": _NOT_FOUND}
        return {
            "success": done.returncode == 0,
            "stdout": done.stdout,
            "stderr": done.stderr,
            "exit_code": done.returncode,
        }


def sudo_runner(*, timeout_s: float = TIMEOUT_S) -> LocalRunner:
    """Return a runner that goes through ``sudo -n``. Who may use it is as good as root."""
    return LocalRunner(prefix=("sudo", "-n"), timeout_s=timeout_s)
