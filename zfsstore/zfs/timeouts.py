"""A runner around another that waits no longer than it is told."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Final, Protocol, runtime_checkable

from modules.errors import CommandTimeout, NotSupported
from zfsstore.zfs.seam import CommandReader, CommandWriter, Runner, RunResult, StreamRunner

_NO_STREAMS: Final = "this runner only runs commands to their end"


@runtime_checkable
class LimitedRunner(Protocol):
    """A runner that can end its own commands in time."""

    def with_timeout(self, timeout_s: float, /) -> Runner:
        """Return a runner like this one whose commands may take *timeout_s*."""


class TimeoutRunner:
    """Raises CommandTimeout for a command that takes longer than *timeout_s*.

    Our own runners kill it then. Any other callable is left to itself in a thread: its command
    may still run, and take effect. Streams have no such limit, for they may take days; they fail
    when nothing moves.

    Args:
        inner: the runner that runs them.
        timeout_s: from its call to its return.
    """

    def __init__(self, inner: Runner, timeout_s: float) -> None:
        self._inner = inner
        self._timeout_s = timeout_s
        self._limited = inner.with_timeout(timeout_s) if isinstance(inner, LimitedRunner) else None

    def __call__(self, argv: Sequence[str]) -> RunResult:
        """Run a command to its end, or to the limit."""
        if self._limited is not None:
            return self._limited(argv)
        return self._run_in_thread(argv)

    def open_read(self, argv: Sequence[str]) -> CommandReader:
        """Start a command whose output is to be read; no limit."""
        return streaming(self._inner).open_read(argv)

    def open_write(self, argv: Sequence[str]) -> CommandWriter:
        """Start a command whose input is to be written; no limit."""
        return streaming(self._inner).open_write(argv)

    def with_timeout(self, timeout_s: float) -> TimeoutRunner:
        """Return a runner with the shorter of both limits."""
        return TimeoutRunner(self._inner, min(timeout_s, self._timeout_s))

    def _run_in_thread(self, argv: Sequence[str]) -> RunResult:
        results: list[RunResult] = []
        errors: list[BaseException] = []

        def run() -> None:
            try:
                results.append(self._inner(argv))
            except BaseException as error:  # raised below, in the caller's thread
                errors.append(error)

        thread = threading.Thread(target=run, name="runner", daemon=True)
        thread.start()
        thread.join(self._timeout_s)
        if errors:
            raise errors[0]
        if not results:
            raise CommandTimeout(
                f"its runner did not return within {self._timeout_s:g} s; it may still run",
                argv=argv,
                timeout_s=self._timeout_s,
                operation="run",
                subject=" ".join(argv[:3]),
            )
        return results[0]


def limited(inner: Runner, timeout_s: float) -> Runner:
    """Return *inner* with a limit."""
    return TimeoutRunner(inner, timeout_s)


def streaming(runner: Runner) -> StreamRunner:
    """Return *runner* as one that streams.

    Raises:
        NotSupported: it only runs commands to their end.
    """
    if isinstance(runner, StreamRunner):
        return runner
    raise NotSupported(
        _NO_STREAMS,
        capability="streams",
        operation="send or receive",
        subject=type(runner).__name__,
        hint="give it open_read and open_write (zfsstore.zfs.seam.StreamRunner)",
    )
