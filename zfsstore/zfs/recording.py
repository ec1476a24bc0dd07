"""A runner around another that writes down each command: the audit log."""

from __future__ import annotations

import json
import logging
import os
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Final, NotRequired, Self, TypedDict

from zfsstore.zfs.seam import CommandReader, CommandWriter, Runner, RunResult
from zfsstore.zfs.timeouts import limited, streaming

_log = logging.getLogger(__name__)

_USER_IN_URL: Final = re.compile(r"(?<=://)[^/@\s]*@")
_MAX_ERROR: Final = 300


class Record(TypedDict):
    """One command that has ended."""

    at: str
    """When it began, RFC 3339 in UTC."""
    argv: list[str]
    duration_s: float
    success: bool
    exit_code: NotRequired[int]
    error: NotRequired[str]
    """The first line of what it said, or why there is no exit code."""
    size_bytes: NotRequired[int]
    """Of a stream: how much was read or written."""


Sink = Callable[[Record], None]


def json_lines(path: str) -> Sink:
    """Return a sink that appends a line of JSON to the file *path*, created with mode 0600."""

    def append(record: Record) -> None:
        line = json.dumps(record, ensure_ascii=True, separators=(",", ":")) + "\n"
        fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.write(fd, line.encode())
        finally:
            os.close(fd)

    return append


def logger_lines(logger: logging.Logger, level: int = logging.INFO) -> Sink:
    """Return a sink that logs a line of JSON."""
    return lambda record: logger.log(level, "%s", json.dumps(record, ensure_ascii=True))


class RecordingRunner:
    """Hands each command on, and its record to *sink* when it has ended.

    Keys are never in an argv (they go by standard input or file); users and passwords in URLs
    are left out. A sink that fails is logged: it must not make a command that ran look failed.

    Args:
        inner: the runner that runs them.
        sink: :func:`json_lines`, :func:`logger_lines`, or any other.
    """

    def __init__(self, inner: Runner, sink: Sink) -> None:
        self._inner = inner
        self._sink = sink

    def __call__(self, argv: Sequence[str]) -> RunResult:
        """Run and record a command."""
        started = _Started(argv, self._write)
        with started.failing():
            result = self._inner(argv)
        if isinstance(result, dict):
            ok = result.get("success") is True
            said = "" if ok else str(result.get("stderr", ""))
            started.ended(success=ok, exit_code=result.get("exit_code"), error=said)
        else:
            started.ended(success=False, error="the runner returned no result")
        return result

    def open_read(self, argv: Sequence[str]) -> CommandReader:
        """Start a command; it is recorded when its output has ended or was closed."""
        started = _Started(argv, self._write)
        with started.failing():
            return _RecordedReader(streaming(self._inner).open_read(argv), started)

    def open_write(self, argv: Sequence[str]) -> CommandWriter:
        """Start a command; it is recorded when it has finished or was aborted."""
        started = _Started(argv, self._write)
        with started.failing():
            return _RecordedWriter(streaming(self._inner).open_write(argv), started)

    def with_timeout(self, timeout_s: float) -> RecordingRunner:
        """Return a runner like this one whose commands may take *timeout_s*."""
        return RecordingRunner(limited(self._inner, timeout_s), self._sink)

    def _write(self, record: Record) -> None:
        try:
            self._sink(record)
        except Exception:  # anybody's code
            _log.exception("cannot record the command %s", record["argv"][:3])


class _Started:
    """A command that runs; becomes one record, however often its end is told."""

    def __init__(self, argv: Sequence[str], write: Sink) -> None:
        self._write = write
        self._argv = [_USER_IN_URL.sub("***@", part) for part in argv]
        self._at = datetime.now(UTC)
        self._clock = time.monotonic()
        self._is_written = False
        self.size_bytes = 0

    def ended(
        self,
        *,
        success: bool,
        exit_code: object = None,
        error: str = "",
        is_stream: bool = False,
    ) -> None:
        if self._is_written:
            return
        self._is_written = True
        record = Record(
            at=self._at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            argv=self._argv,
            duration_s=round(time.monotonic() - self._clock, 3),
            success=success,
        )
        if isinstance(exit_code, int):
            record["exit_code"] = exit_code
        if error := error.strip().partition("\n")[0]:
            record["error"] = error[:_MAX_ERROR]
        if is_stream:
            record["size_bytes"] = self.size_bytes
        self._write(record)

    @contextmanager
    def failing(self, *, is_stream: bool = False) -> Iterator[None]:
        """Record the error that leaves the block."""
        try:
            yield
        except BaseException as error:
            code = getattr(error, "exit_code", None)
            self.ended(success=False, exit_code=code, error=str(error), is_stream=is_stream)
            raise


class _RecordedReader:
    def __init__(self, inner: CommandReader, started: _Started) -> None:
        self._inner = inner
        self._started = started

    def read(self, size: int = -1, /) -> bytes:
        with self._started.failing(is_stream=True):
            data = self._inner.read(size)
        self._started.size_bytes += len(data)
        if size < 0 or (size > 0 and not data):
            self._started.ended(success=True, exit_code=0, is_stream=True)
        return data

    def close(self) -> None:
        self._inner.close()
        self._started.ended(success=False, error="closed before its end", is_stream=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _RecordedWriter:
    def __init__(self, inner: CommandWriter, started: _Started) -> None:
        self._inner = inner
        self._started = started

    def write(self, data: bytes, /) -> int:
        with self._started.failing(is_stream=True):
            written = self._inner.write(data)
        self._started.size_bytes += written
        return written

    def finish(self) -> str:
        with self._started.failing(is_stream=True):
            stdout = self._inner.finish()
        self._started.ended(success=True, exit_code=0, is_stream=True)
        return stdout

    def abort(self) -> None:
        self._inner.abort()
        self._started.ended(success=False, error="aborted", is_stream=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.abort()
