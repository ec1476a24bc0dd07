"""The audit log: a line of JSON for each request. Keys never come by: they go through pipes."""

from __future__ import annotations

import errno
import json
import logging
import os
import re
import struct
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from socket import SO_PEERCRED, SOL_SOCKET, socket
from typing import Any, Final

from zfsstore.agent import operations as ops
from zfsstore.agent.exporting import ExportRequest

Sink = Callable[[str], None]

_log = logging.getLogger(__name__)

_CREDENTIALS: Final = struct.Struct("3i")
_SO_PEERGROUPS: Final = 59
_GROUPS_BYTES: Final = 1024  # as much as getsockopt takes: 256 groups
_SHOWN: Final = 20
_MAX_ERROR: Final = 300


class Peer:
    """Who is at the other end, as the kernel says. Source: unix(7), socket(7)."""

    def __init__(self, connection: socket) -> None:
        raw = connection.getsockopt(SOL_SOCKET, SO_PEERCRED, _CREDENTIALS.size)
        self.pid, self.uid, self.gid = _CREDENTIALS.unpack(raw)
        self.groups = frozenset({self.gid, *_further_groups(connection)})


class Entry:
    """One request: begun, understood, answered."""

    def __init__(self, peer: Peer, sink: Sink) -> None:
        self._peer = peer
        self._sink = sink
        self._at = datetime.now(UTC)
        self._began = time.monotonic()
        self._operation: str | None = None
        self._arguments: dict[str, Any] = {}

    def understood(self, operation: ops.Operation | ExportRequest) -> None:
        """Note what is asked for."""
        self._operation = re.sub(r"(?<!^)(?=[A-Z])", "_", type(operation).__name__).lower()
        self._arguments = {
            name: _shortened(value)
            for name, value in asdict(operation).items()
            if value not in (None, False, "", (), {})
        }

    def ended(self, result: str, *, exit_code: int | None = None, error: str = "") -> None:
        """Write the line.

        Args:
            result: "done", "failed", "refused" or "aborted".
        """
        record = {
            "at": self._at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "uid": self._peer.uid,
            "gid": self._peer.gid,
            "pid": self._peer.pid,
            "operation": self._operation,
            "arguments": self._arguments,
            "result": result,
            "exit_code": exit_code,
            "error": error.strip()[:_MAX_ERROR] or None,
            "duration_s": round(time.monotonic() - self._began, 3),
        }
        line = {name: value for name, value in record.items() if value is not None}
        try:
            self._sink(json.dumps(line, ensure_ascii=True, separators=(",", ":")))
        except OSError as failed:  # a full disk must not make what was done look failed
            _log.error("cannot write the audit log: %s", failed)


def file_lines(path: str) -> Sink:
    """Return a sink that appends lines to the file *path*, created with mode 0600."""

    def append(line: str) -> None:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        fd = os.open(path, flags, 0o600)
        try:
            os.write(fd, f"{line}\n".encode())
        finally:
            os.close(fd)

    return append


def _further_groups(connection: socket) -> tuple[int, ...]:
    """Return the supplementary groups; none of a user with more than 256."""
    try:
        groups = connection.getsockopt(SOL_SOCKET, _SO_PEERGROUPS, _GROUPS_BYTES)
    except OSError as error:
        if error.errno == errno.ERANGE:
            return ()
        raise
    return struct.unpack(f"{len(groups) // 4}I", groups)


def _shortened(value: object) -> object:
    if isinstance(value, Mapping):
        return dict(list(value.items())[:_SHOWN])
    if isinstance(value, Sequence) and not isinstance(value, str):
        more = [f"and {len(value) - _SHOWN} more"] if len(value) > _SHOWN else []
        return [*value[:_SHOWN], *more]
    return value[:_MAX_ERROR] if isinstance(value, str) else value
