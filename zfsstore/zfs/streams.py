"""The output of a child as it comes, and its input as it goes: CommandReader and CommandWriter.

What ``zfs send`` prints and ``zfs receive`` takes has no limit, so neither is held in memory. A
stream that is dropped, at the latest by the garbage collector, ends its child.
"""

from __future__ import annotations

import fcntl
import os
import select
import subprocess
import weakref
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final, NoReturn, Self

from modules.errors import CommandFailed, CommandTimeout, StorageError
from zfsstore.zfs import process
from zfsstore.zfs.process import Child, Drain

CHUNK_BYTES: Final = 1024 * 1024
STALL_S: Final = 900.0
"""A stream on which nothing has moved for so long has failed."""

Explain = Callable[[Sequence[str], int, str], StorageError]


def failed(argv: Sequence[str], exit_code: int, stderr: str) -> StorageError:
    """Return the error for a command that ended with *exit_code*."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    how = f"signal {-exit_code} killed it" if exit_code < 0 else f"it ended with {exit_code}"
    return CommandFailed(
        lines[0] if lines else how,
        argv=argv,
        exit_code=exit_code,
        stderr=stderr,
        operation="run",
        subject=" ".join(argv[:2]),
    )


class _Stream:
    """What both directions share: the child, its end, and its error."""

    def __init__(self, argv: Sequence[str], stall_s: float, explain: Explain) -> None:
        self.argv = tuple(argv)
        self.exit_code: int | None = None
        self.bytes_moved = 0
        self._stall_s = stall_s
        self._explain = explain
        self._error: StorageError | None = None

    def _start(self, *, stdin: int, stdout: int) -> Child:
        try:
            child = process.start(self.argv, stdin=stdin, stdout=stdout)
        except OSError as error:
            message = f"{self.argv[0]}: {error.strerror or error}"
            raise self._explain(self.argv, 127, message) from error
        self._stderr = Drain(child.stderr) if child.stderr is not None else None
        self._child = child
        pipe = child.stdin or child.stdout  # the output of one with an input has a drain
        assert pipe is not None
        with suppress(OSError):  # more than a user may have: then the ordinary 64 KiB
            fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, CHUNK_BYTES)
        self._drop = weakref.finalize(self, process.end, child, pipe)
        return child

    def _wait_for(self, fd: int, event: int) -> None:
        """Return when *fd* is ready.

        Raises:
            CommandTimeout: it is not for too long; the command was killed.
        """
        poll = select.poll()
        poll.register(fd, event)
        if not poll.poll(self._stall_s * 1000):
            self._drop()
            raise self._fail(self._stalled())

    def _stalled(self) -> StorageError:
        return CommandTimeout(
            f"nothing has moved for {self._stall_s:g} s, and it was killed",
            argv=self.argv,
            timeout_s=self._stall_s,
            operation="run",
            subject=" ".join(self.argv[:2]),
            hint="is the pool suspended? see `zpool status`",
        )

    def _reap(self) -> None:
        """Wait for the child and raise what it died of."""
        try:
            self.exit_code = self._child.wait(self._stall_s)
        except subprocess.TimeoutExpired:
            self._drop()
            raise self._fail(self._stalled()) from None
        stderr = self._stderr.text() if self._stderr is not None else ""
        self._drop()
        if self.exit_code != 0:
            raise self._fail(self._explain(self.argv, self.exit_code, stderr))

    def _fail(self, error: StorageError) -> StorageError:
        self._error = error
        return error

    def _check(self) -> None:
        if self._error is not None:
            raise self._error
        if not self._drop.alive and self.exit_code is None:
            raise ValueError("the stream is closed")


class ProcessReader(_Stream):
    """A child's standard output.

    Args:
        argv: what to run.
        stall_s: the longest that a read may wait.
        explain: makes the error of an exit code and standard error.
    """

    def __init__(
        self, argv: Sequence[str], *, stall_s: float = STALL_S, explain: Explain = failed
    ) -> None:
        super().__init__(argv, stall_s, explain)
        child = self._start(stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        assert child.stdout is not None
        self._fd = child.stdout.fileno()

    def read(self, size: int = -1, /) -> bytes:
        """Return up to *size* bytes; see :class:`CommandReader`."""
        if size < 0:
            return b"".join(iter(lambda: self.read(CHUNK_BYTES), b""))
        self._check()
        if size == 0 or self.exit_code is not None:
            return b""
        self._wait_for(self._fd, select.POLLIN)
        data = os.read(self._fd, min(size, CHUNK_BYTES))
        self.bytes_moved += len(data)
        if not data:
            self._reap()
        return data

    def close(self) -> None:
        """Let go; a child that is still running is killed."""
        self._drop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class ProcessWriter(_Stream):
    """A child's standard input.

    Args:
        argv: what to run.
        stall_s: the longest that a write, or the child's end, may take.
        explain: makes the error of an exit code and standard error.
    """

    def __init__(
        self, argv: Sequence[str], *, stall_s: float = STALL_S, explain: Explain = failed
    ) -> None:
        super().__init__(argv, stall_s, explain)
        child = self._start(stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert child.stdin is not None
        assert child.stdout is not None
        self._stdin = child.stdin
        os.set_blocking(self._stdin.fileno(), False)
        self._stdout = Drain(child.stdout)

    def write(self, data: bytes, /) -> int:
        """Write all of *data*; see :class:`CommandWriter`."""
        self._check()
        if self.exit_code is not None:
            raise ValueError("the stream is finished")
        left = memoryview(data)
        while left:
            self._wait_for(self._stdin.fileno(), select.POLLOUT)
            try:
                written = os.write(self._stdin.fileno(), left[:CHUNK_BYTES])
            except BlockingIOError:
                continue
            except BrokenPipeError:
                self._ended_early()
            left = left[written:]
            self.bytes_moved += written
        return len(data)

    def finish(self) -> str:
        """Close the input, wait for the child, return what it printed."""
        self._check()
        if self.exit_code is None:
            self._stdin.close()
            self._reap()
        return self._stdout.text()

    def abort(self) -> None:
        """Kill the child, unless it is done."""
        self._drop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.abort()

    def _ended_early(self) -> NoReturn:
        """Raise why the child takes no more."""
        self._stdin.close()
        self._reap()
        raise self._fail(self._explain(self.argv, 0, "it took no more input and ended"))
