"""A runner around another that changes nothing: it keeps what it would have run."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from typing import Final, Self

from zfsstore.zfs.seam import CommandReader, CommandWriter, Runner, RunResult
from zfsstore.zfs.timeouts import limited, streaming

_READING: Final = {
    "zfs": frozenset({"list", "get", "holds", "diff", "version", "userspace", "groupspace"}),
    "zpool": frozenset({"list", "get", "status", "version", "iostat", "history"}),
}
_FLAGS: Final = {"destroy": "rRfnvpd", "send": "DLPVbcehnpsvwR", "receive": "vMnsFhude"}
"""The letters that take no argument; "n" is a dry run."""


def is_reading(argv: Sequence[str]) -> bool:
    """Return whether the command is known to change nothing.

    ``zfs diff`` counts as one: the snapshot that it takes for a moment is gone when it ends.
    """
    if len(argv) < 2:
        return False
    program, verb = argv[0].rpartition("/")[2], argv[1]
    if verb in _READING.get(program, ()):
        return True
    if program != "zfs":
        return False
    if verb == "allow":
        return len(argv) == 3
    if verb in _FLAGS:
        first = argv[2] if len(argv) > 2 else ""
        return first[:1] == "-" and "n" in first and set(first[1:]) <= set(_FLAGS[verb])
    return argv[1:] == ["mount"]


class DryRunRunner:
    """Lets reading commands pass; any other is kept in :attr:`planned` and said to have succeeded.

    A stream that would be sent is empty, and one that would be received is thrown away. What a
    command would have brought about is not there for those after it.

    Args:
        inner: the runner for those that read.
        is_reading: which do.
    """

    def __init__(
        self, inner: Runner, *, is_reading: Callable[[Sequence[str]], bool] = is_reading
    ) -> None:
        self.planned: list[tuple[str, ...]] = []
        self._inner = inner
        self._is_reading = is_reading

    def __call__(self, argv: Sequence[str]) -> RunResult:
        """Run a command that reads; keep any other."""
        if self._is_reading(argv):
            return self._inner(argv)
        self.planned.append(tuple(argv))
        return {"success": True, "stdout": "", "stderr": "", "exit_code": 0}

    def open_read(self, argv: Sequence[str]) -> CommandReader:
        """Read from a command that reads; for any other, nothing."""
        if self._is_reading(argv):
            return streaming(self._inner).open_read(argv)
        self.planned.append(tuple(argv))
        return _Nothing()

    def open_write(self, argv: Sequence[str]) -> CommandWriter:
        """Write to nowhere."""
        self.planned.append(tuple(argv))
        return _Nothing()

    def with_timeout(self, timeout_s: float) -> DryRunRunner:
        """Return a runner with the same plan whose commands may take *timeout_s*."""
        other = DryRunRunner(limited(self._inner, timeout_s), is_reading=self._is_reading)
        other.planned = self.planned
        return other

    def format_plan(self) -> str:
        """Return the plan as lines that a shell would run."""
        return "".join(f"{shlex.join(argv)}\n" for argv in self.planned)


class _Nothing:
    def read(self, size: int = -1, /) -> bytes:
        return b""

    def write(self, data: bytes, /) -> int:
        return len(data)

    def finish(self) -> str:
        return ""

    def close(self) -> None: ...

    def abort(self) -> None: ...

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None: ...
