"""Running one command: what every group of calls of the client builds on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from modules.errors import CommandFailed, StorageError
from zfsstore.zfs import commands
from zfsstore.zfs.classification import classify
from zfsstore.zfs.runner import LocalRunner, Runner

JSON_SINCE: Final = (2, 3, 0)
"""The first OpenZFS whose list, get and status print JSON."""


class CommandClient:
    """Runs commands and raises what failed as an error of the tree.

    Args:
        runner: how to run them; on this machine when None.
    """

    def __init__(self, runner: Runner | None = None) -> None:
        self._runner = runner or LocalRunner()
        self._installed: tuple[int, int, int] | None = None

    def version(self) -> tuple[int, int, int]:
        """Return the version of the installed zfs program."""
        return commands.parse_version(self._run(commands.version_argv(), "ask", "zfs version"))

    def _has(self, version: tuple[int, int, int]) -> bool:
        """Return whether the installed ZFS is at least *version*; asked for once."""
        if self._installed is None:
            self._installed = self.version()
        return self._installed >= version

    def _run(self, argv: Sequence[str], operation: str, subject: str) -> str:
        """Return what the command printed on its standard output.

        Raises:
            StorageError: it failed, or the runner did.
        """
        return str(self._result(argv, operation, subject).get("stdout", ""))

    def _result(self, argv: Sequence[str], operation: str, subject: str) -> Mapping[str, Any]:
        """Return what the runner gave for a command that succeeded."""
        try:
            result: Any = self._runner(list(argv))
        except StorageError:
            raise
        except Exception as error:  # a runner is anybody's code
            raise CommandFailed(
                f"the runner failed: {error}", argv=argv, operation=operation, subject=subject
            ) from error
        if not isinstance(result, Mapping) or not isinstance(result.get("success"), bool):
            raise CommandFailed(
                f"the runner returned {result!r:.80}, not a result",
                argv=argv,
                operation=operation,
                subject=subject,
            )
        if result["success"]:
            return result
        raise classify(
            argv,
            stderr=str(result.get("stderr", "")),
            exit_code=result.get("exit_code"),
            operation=operation,
            subject=subject,
        )


def several(names: Sequence[str]) -> str:
    """Return *names* as the subject of an error: the first, and how many more."""
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return f"{names[0]}{more}" if names else "nothing"
