"""The agent's server: a thread for each connection, one request and one answer on each."""

from __future__ import annotations

import logging
import select
import socket
import threading
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from modules.errors import Busy, InvalidArgument, PermissionDenied, StorageError
from zfsstore.agent import grammar
from zfsstore.agent import operations as ops
from zfsstore.agent.answers import format_error
from zfsstore.agent.audit import Entry, Peer, Sink
from zfsstore.agent.exporting import ExportRequest
from zfsstore.agent.pipes import PipedRunner
from zfsstore.agent.protocol import (
    MAX_ANSWER_BYTES,
    REQUEST_S,
    Request,
    receive_request,
    send_frame,
)
from zfsstore.agent.scope import Scope
from zfsstore.agent.worker import Worker
from zfsstore.zfs.runner import TIMEOUT_S, run_to_end
from zfsstore.zfs.seam import Runner, RunResult

MAX_CONNECTIONS: Final = 64
STOP_S: Final = 60.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Access:
    """Who may use the agent, beside root."""

    uids: Collection[int] = ()
    gids: Collection[int] = ()

    def allows(self, peer: Peer) -> bool:
        is_listed = peer.uid in self.uids or not peer.groups.isdisjoint(self.gids)
        return peer.uid == 0 or is_listed


class AgentServer:
    """Answers what comes on a listening socket.

    Args:
        listener: which this closes in the end.
        sink: takes the lines of the audit log.
        timeout_s: the longest that a command may take which does not stream.
    """

    def __init__(
        self,
        listener: socket.socket,
        *,
        access: Access,
        scope: Scope,
        worker: Worker,
        sink: Sink,
        timeout_s: float = TIMEOUT_S,
        run: Runner | None = None,
    ) -> None:
        self._listener = listener
        self._access = access
        self._scope = scope
        self._worker = worker
        self._sink = sink
        self._timeout_s = timeout_s
        self._run = run
        self._slots = threading.BoundedSemaphore(MAX_CONNECTIONS)
        self._stop, self._stopping = socket.socketpair()
        self._threads: set[threading.Thread] = set()

    def serve(self) -> None:
        """Answer until :meth:`stop` is called, then finish what has begun."""
        poll = select.poll()
        self._listener.setblocking(False)
        for waited in (self._listener, self._stopping):
            poll.register(waited, select.POLLIN)
        while self._stopping.fileno() not in {fd for fd, _event in poll.poll()}:
            with suppress(BlockingIOError, ConnectionAbortedError):
                self._accept(self._listener.accept()[0])
        self._listener.close()
        for thread in list(self._threads):
            thread.join(STOP_S)

    def stop(self) -> None:
        """Let :meth:`serve` return; may be called by a signal handler."""
        with suppress(OSError):
            self._stop.send(b"x")

    def _accept(self, connection: socket.socket) -> None:
        if not self._slots.acquire(blocking=False):
            with connection, suppress(OSError):
                connection.settimeout(1)
                busy = Busy("the agent has too much to do", operation="ask", subject="the agent")
                send_frame(connection, format_error(busy))
            return
        thread = threading.Thread(target=self._answer, args=(connection,), name="agent")
        self._threads.add(thread)
        try:
            thread.start()
        except RuntimeError as error:  # no more threads: this client tries again
            _log.error("cannot answer a client: %s", error)
            self._threads.discard(thread)
            self._slots.release()
            connection.close()

    def _answer(self, connection: socket.socket) -> None:
        entry = None
        try:
            with connection:
                entry = Entry(peer := Peer(connection), self._sink)
                answer = self._respond(connection, peer, entry)
                if answer is not None:
                    connection.settimeout(REQUEST_S)
                    with suppress(OSError):  # gone: what was done is in the audit log
                        send_frame(connection, answer)
        except Exception as error:  # the top of a thread; the next request is another matter
            _log.exception("a request failed in the agent")
            if entry is not None:
                entry.ended("failed", error=f"{type(error).__name__}: {error}")
        finally:
            self._threads.discard(threading.current_thread())
            self._slots.release()

    def _respond(
        self, connection: socket.socket, peer: Peer, entry: Entry
    ) -> dict[str, Any] | None:
        try:
            if not self._access.allows(peer):
                raise _foreign(peer)
            request, descriptors = receive_request(connection)
            if request is None:
                return None
            connection.settimeout(None)
            piped = None
            if descriptors:
                is_output = request.stream == "read"
                piped = PipedRunner(descriptors[0], connection, is_output=is_output)
            try:
                return self._do(request, piped, entry)
            finally:
                if piped is not None:
                    piped.close()
        except StorageError as error:
            entry.ended("refused", error=str(error))
            return format_error(error)
        except OSError as error:
            entry.ended("aborted", error=error.strerror or str(error))
            return None

    def _do(self, request: Request, piped: PipedRunner | None, entry: Entry) -> dict[str, Any]:
        if request.export is not None:
            export = ExportRequest.from_dict(request.export)
            entry.understood(export)
            is_exported = self._worker.export(export)
            entry.ended("done")
            return {"success": True, "is_exported": is_exported}
        operation = grammar.parse(request.argv)
        entry.understood(operation)
        self._scope.authorise(operation)
        _check_stream(operation, request.stream)
        result = self._worker.perform(operation, piped or self._runner(request.timeout_s))
        stderr = result.get("stderr", "")
        if len(result.get("stdout", "")) > MAX_ANSWER_BYTES // 2:
            raise InvalidArgument("it printed too much, ask for less at once", field="argv")
        how = "aborted" if piped is not None and piped.was_aborted else "failed"
        how = "done" if result["success"] else how
        code = result.get("exit_code")
        entry.ended(how, exit_code=code, error="" if result["success"] else stderr)
        return dict(result)

    def _runner(self, timeout_s: float | None) -> Runner:
        limit_s = min(self._timeout_s, timeout_s or self._timeout_s)
        if self._run is not None:
            return self._run

        def run(argv: Any) -> RunResult:
            return run_to_end(argv, timeout_s=limit_s)

        return run


def _check_stream(operation: ops.Operation, stream: str | None) -> None:
    """Make sure that what streams comes with a pipe, in its direction, and nothing else does.

    Raises:
        InvalidArgument: it does not.
    """
    allowed: tuple[str | None, ...] = (None,)
    match operation:
        case ops.Send() | ops.ResumeSend() if not operation.dry_run:
            allowed = ("read",)
        case ops.Receive() | ops.LoadKey():
            allowed = ("write",)
        case ops.Create() if operation.properties.get("keylocation") == "prompt":
            allowed = ("write",)
    if stream not in allowed:
        raise InvalidArgument(f"it needs {allowed[0] or 'no pipe'}", field="stream")


def _foreign(peer: Peer) -> PermissionDenied:
    return PermissionDenied(
        f"user {peer.uid} is not among those it works for",
        operation="use",
        subject="the agent",
        hint="start it with --user or --allow-group",
    )
