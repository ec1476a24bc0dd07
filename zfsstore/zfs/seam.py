"""The seam between us and the zfs programs: what a runner is, and its streaming form.

A runner is any callable that takes an argv and returns a :class:`RunResult`; it sees every
command, so it can record, refuse, or reach another machine. argv only, never a shell string.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import TracebackType
from typing import NotRequired, Protocol, Self, TypedDict, runtime_checkable


class RunResult(TypedDict):
    """What a command did; ``stdout`` and ``stderr`` are "" when left out."""

    success: bool
    stdout: NotRequired[str]
    stderr: NotRequired[str]
    exit_code: NotRequired[int]


Runner = Callable[[Sequence[str]], RunResult]


class CommandReader(Protocol):
    """A command's standard output."""

    def read(self, size: int = -1, /) -> bytes:
        """Return up to *size* bytes, all that is left when negative; b"" when the command is done.

        Raises:
            StorageError: it failed, told where the output ends.
        """

    def close(self) -> None:
        """Let go; a command that is still running is killed."""

    def __enter__(self) -> Self: ...
    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
        /,
    ) -> None: ...


class CommandWriter(Protocol):
    """A command's standard input. Leaving its ``with`` without :meth:`finish` aborts."""

    def write(self, data: bytes, /) -> int:
        """Write all of *data*.

        Raises:
            StorageError: the command ended early; what it said.
        """

    def finish(self) -> str:
        """Say that this was all, wait for the command, return what it printed.

        Raises:
            StorageError: it failed.
        """

    def abort(self) -> None:
        """Kill the command, unless it is done; it never sees an ordinary end of its input."""

    def __enter__(self) -> Self: ...
    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
        /,
    ) -> None: ...


@runtime_checkable
class StreamRunner(Protocol):
    """A runner that streams, too."""

    def __call__(self, argv: Sequence[str], /) -> RunResult: ...

    def open_read(self, argv: Sequence[str], /) -> CommandReader:
        """Start a command whose output is to be read."""

    def open_write(self, argv: Sequence[str], /) -> CommandWriter:
        """Start a command whose input is to be written."""
