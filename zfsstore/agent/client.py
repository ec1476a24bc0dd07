"""The host's side of the agent: a runner, and streams, over its socket."""

from __future__ import annotations

import fcntl
import os
import select
import socket
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final, Self

from modules.errors import CommandTimeout, PermissionDenied, StorageError, Unavailable
from zfsstore.agent.answers import parse_answer
from zfsstore.agent.protocol import DEFAULT_SOCKET, Request, receive_answer, send_frame
from zfsstore.zfs.runner import TIMEOUT_S
from zfsstore.zfs.seam import RunResult
from zfsstore.zfs.streams import CHUNK_BYTES, STALL_S, failed

_MARGIN_S: Final = 15.0
_CONNECT_S: Final = 10.0
_GRACE_S: Final = 5.0


class AgentRunner:
    """Runs the commands of our zfs client through zfsstore-agent. Keeps no connection.

    Args:
        path: of the agent's socket.
        timeout_s: after which the agent kills a command.
        stall_s: after which a stream that does not move is given up.
    """

    def __init__(
        self,
        path: str = DEFAULT_SOCKET,
        *,
        timeout_s: float = TIMEOUT_S,
        stall_s: float = STALL_S,
    ) -> None:
        self.path = path
        self._timeout_s = timeout_s
        self._stall_s = stall_s

    def __call__(self, argv: Sequence[str]) -> RunResult:
        """Run *argv* to its end.

        Raises:
            Unavailable: no agent answers; or it ended during the command, which may have run.
            PermissionDenied, NotSupported, InvalidArgument: it refuses the command.
            CommandTimeout: it took too long.
        """
        request = Request(tuple(argv), timeout_s=self._timeout_s)
        with _ask(self.path, request) as connection:
            return parse_answer(_answer(self.path, connection, argv, self._timeout_s), argv)

    def open_read(self, argv: Sequence[str]) -> AgentReader:
        """Start a command whose output is to be read."""
        return AgentReader(self.path, argv, self._stall_s)

    def open_write(self, argv: Sequence[str]) -> AgentWriter:
        """Start a command whose input is to be written."""
        return AgentWriter(self.path, argv, self._stall_s)

    def with_timeout(self, timeout_s: float) -> AgentRunner:
        """Return a runner like this one with another timeout."""
        return AgentRunner(self.path, timeout_s=timeout_s, stall_s=self._stall_s)


def ask_export(path: str, arguments: dict[str, Any]) -> bool:
    """Ask for an export, and return whether the dataset is exported then."""
    with _ask(path, Request(export=arguments)) as connection:
        answer = _answer(path, connection, ("exportfs",), TIMEOUT_S)
    parse_answer(answer, ("exportfs",))
    return answer.get("is_exported") is True


class _Stream:
    """A connection whose command has one end of a pipe; this has the other."""

    def __init__(self, path: str, argv: Sequence[str], stall_s: float, *, is_read: bool) -> None:
        self.argv = tuple(argv)
        self.exit_code: int | None = None
        self._path = path
        self._stall_s = stall_s
        self._error: StorageError | None = None
        self._said = ""
        outer, inner = os.pipe2(os.O_CLOEXEC)
        self._pipe, theirs = (outer, inner) if is_read else (inner, outer)
        with suppress(OSError):  # more than a user may have: then the ordinary 64 KiB
            fcntl.fcntl(self._pipe, fcntl.F_SETPIPE_SZ, CHUNK_BYTES)
        try:
            request = Request(self.argv, stream="read" if is_read else "write")
            self._connection: socket.socket | None = _ask(path, request, descriptors=(theirs,))
        except BaseException:
            os.close(self._pipe)
            self._pipe = -1
            self._connection = None
            raise
        finally:
            os.close(theirs)

    def abort(self) -> None:
        """Let go; a command that is still running is killed before it sees the pipe's end."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with connection, suppress(OSError, StorageError):
                connection.shutdown(socket.SHUT_WR)
                connection.settimeout(_GRACE_S)
                receive_answer(connection)
        self._close_pipe()

    def __del__(self) -> None:
        connection, self._connection = getattr(self, "_connection", None), None
        if connection is not None:
            connection.close()
        self._close_pipe()

    def _close_pipe(self) -> None:
        pipe, self._pipe = getattr(self, "_pipe", -1), -1
        if pipe >= 0:
            os.close(pipe)

    def _check(self) -> None:
        if self._error is not None:
            raise self._error
        if self._connection is None and self.exit_code is None:
            raise ValueError("the stream is closed")

    def _wait_for(self, event: int) -> None:
        poll = select.poll()
        poll.register(self._pipe, event)
        if not poll.poll(self._stall_s * 1000):
            self.abort()
            raise self._fail(_too_long(self.argv, self._stall_s))

    def _end(self) -> None:
        """Wait for the command's end and raise what it died of."""
        self._close_pipe()
        connection, self._connection = self._connection, None
        assert connection is not None
        with connection:
            try:
                answer = _answer(self._path, connection, self.argv, self._stall_s)
                result = parse_answer(answer, self.argv)
            except StorageError as error:
                raise self._fail(error) from error.__cause__
        self.exit_code = result.get("exit_code", 0 if result["success"] else 1)
        self._said = result.get("stdout", "")
        if not result["success"]:
            code = self.exit_code or 1
            raise self._fail(failed(self.argv, code, result.get("stderr", "")))

    def _fail(self, error: StorageError) -> StorageError:
        self._error = error
        return error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.abort()


class AgentReader(_Stream):
    """The output of a command that the agent runs."""

    def __init__(self, path: str, argv: Sequence[str], stall_s: float) -> None:
        super().__init__(path, argv, stall_s, is_read=True)

    def read(self, size: int = -1, /) -> bytes:
        """Return up to *size* bytes; see :class:`zfsstore.zfs.seam.CommandReader`."""
        if size < 0:
            return b"".join(iter(lambda: self.read(CHUNK_BYTES), b""))
        self._check()
        if size == 0 or self.exit_code is not None:
            return b""
        self._wait_for(select.POLLIN)
        data = os.read(self._pipe, min(size, CHUNK_BYTES))
        if not data:
            self._end()
        return data

    def close(self) -> None:
        """Let go; a command that is still running is killed."""
        self.abort()


class AgentWriter(_Stream):
    """The input of a command that the agent runs."""

    def __init__(self, path: str, argv: Sequence[str], stall_s: float) -> None:
        super().__init__(path, argv, stall_s, is_read=False)
        os.set_blocking(self._pipe, False)

    def write(self, data: bytes, /) -> int:
        """Write all of *data*; see :class:`zfsstore.zfs.seam.CommandWriter`."""
        self._check()
        if self.exit_code is not None:
            raise ValueError("the stream is finished")
        left = memoryview(data)
        while left:
            self._wait_for(select.POLLOUT)
            try:
                left = left[os.write(self._pipe, left[:CHUNK_BYTES]) :]
            except BlockingIOError:
                continue
            except BrokenPipeError:
                self._end()
                raise self._fail(failed(self.argv, 0, "it took no more input and ended")) from None
        return len(data)

    def finish(self) -> str:
        """Say that this was all, wait for the command, return what it printed."""
        self._check()
        if self.exit_code is None:
            self._end()
        return self._said


def _ask(path: str, request: Request, *, descriptors: Sequence[int] = ()) -> socket.socket:
    """Return a connection on which *request* has been sent.

    Raises:
        Unavailable, PermissionDenied: there is no agent, or we may not talk to it.
    """
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.settimeout(_CONNECT_S)
        connection.connect(path)
        with suppress(BrokenPipeError, ConnectionResetError):  # its answer says why
            send_frame(connection, request.to_dict(), descriptors=descriptors)
    except OSError as error:
        connection.close()
        raise _absent(path, error) from error
    except BaseException:
        connection.close()
        raise
    return connection


def _answer(
    path: str, connection: socket.socket, argv: Sequence[str], timeout_s: float
) -> dict[str, Any]:
    connection.settimeout(timeout_s + _MARGIN_S)
    try:
        answer = receive_answer(connection)
    except TimeoutError as error:
        raise _too_long(argv, timeout_s) from error
    except OSError:
        answer = None
    if answer is None:
        raise Unavailable(
            "zfsstore-agent ended before it answered; the command may have run",
            operation="run",
            subject=" ".join(argv[:2]),
            hint=f"see `journalctl -u zfsstore-agent`, then try again ({path})",
        )
    return answer


def _absent(path: str, error: OSError) -> StorageError:
    if isinstance(error, PermissionError):
        return PermissionDenied(
            f"this user may not connect to {path}",
            operation="reach",
            subject="zfsstore-agent",
            hint="put the host's user into the socket's group (SocketGroup= of the unit)",
        )
    return Unavailable(
        f"nothing answers at {path} ({error.strerror or error})",
        operation="reach",
        subject="zfsstore-agent",
        hint="start it: `systemctl start zfsstore-agent.socket`",
    )


def _too_long(argv: Sequence[str], timeout_s: float) -> CommandTimeout:
    return CommandTimeout(
        f"nothing has come from zfsstore-agent for {timeout_s:g} s",
        argv=argv,
        timeout_s=timeout_s,
        operation="run",
        subject=" ".join(argv[:2]),
        hint="is the pool suspended? see `zpool status`",
    )
