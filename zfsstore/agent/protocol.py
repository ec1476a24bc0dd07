"""What goes over the agent's socket: one request, one answer; docs/agent.md.

A frame is its length, 4 bytes, big-endian, and so many bytes of a JSON object in UTF-8. A request
that streams carries one descriptor, the end of a pipe (SCM_RIGHTS).

Source: unix(7).
"""

from __future__ import annotations

import json
import os
import socket
import stat
import struct
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from modules.errors import InvalidArgument

VERSION: Final = 1
MAX_REQUEST_BYTES: Final = 1024 * 1024
MAX_ANSWER_BYTES: Final = 64 * 1024 * 1024
MAX_WORDS: Final = 16_384
REQUEST_S: Final = 10.0
"""A request that has not come in whole by then is refused."""

DEFAULT_SOCKET: Final = "/run/zfsstore/agent.sock"

_LENGTH: Final = struct.Struct(">I")
_BLOCK_BYTES: Final = 64 * 1024
_STREAMS: Final = ("read", "write")


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked for.

    Attributes:
        argv: the command as our client writes it; empty for an export.
        stream: "read" its output or "write" its input, through a pipe that comes along.
        timeout_s: the longest that it may take; the agent has a limit of its own.
        export: the arguments of an export, see :mod:`zfsstore.agent.exporting`.
    """

    argv: tuple[str, ...] = ()
    stream: str | None = None
    timeout_s: float | None = None
    export: Mapping[str, Any] | None = None

    def to_dict(self) -> dict[str, Any]:
        every = {
            "argv": list(self.argv) or None,
            "stream": self.stream,
            "timeout_s": self.timeout_s,
            "export": None if self.export is None else dict(self.export),
        }
        return {"version": VERSION} | {k: v for k, v in every.items() if v is not None}

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Request:
        """Return the request in *value*.

        Raises:
            InvalidArgument: it is none; ``field`` names the member.
        """
        if unknown := value.keys() - {"version", "argv", "stream", "timeout_s", "export"}:
            raise _invalid("unknown member", min(unknown)[:80])
        if value.get("version") != VERSION or type(value.get("version")) is not int:
            raise _invalid(f"this agent speaks version {VERSION}", "version")
        argv, stream = value.get("argv", []), value.get("stream")
        timeout_s, export = value.get("timeout_s"), value.get("export")
        if not isinstance(argv, list) or len(argv) > MAX_WORDS or not all(map(_is_word, argv)):
            raise _invalid(f"must be a list of up to {MAX_WORDS} texts without NUL", "argv")
        if bool(argv) == (export is not None):
            raise _invalid("give exactly one of argv and export", "argv")
        if export is not None and not isinstance(export, dict):
            raise _invalid("must be an object", "export")
        if stream is not None and (stream not in _STREAMS or not argv):
            raise _invalid('must be "read" or "write", of a command', "stream")
        if timeout_s is not None and not (
            type(timeout_s) in (int, float) and 0 < timeout_s <= 86_400
        ):
            raise _invalid("must be seconds, more than 0 and up to a day", "timeout_s")
        return cls(tuple(argv), stream, timeout_s, export)


def send_frame(
    connection: socket.socket, value: Mapping[str, Any], *, descriptors: Sequence[int] = ()
) -> None:
    """Send one frame, with *descriptors* along with its first bytes.

    Raises:
        OSError: the other side has gone, or takes nothing.
    """
    data = json.dumps(value, ensure_ascii=True, separators=(",", ":")).encode()
    frame = memoryview(_LENGTH.pack(len(data)) + data)
    if descriptors:
        frame = frame[socket.send_fds(connection, [frame], list(descriptors)) :]
    connection.sendall(frame)


def receive_request(connection: socket.socket) -> tuple[Request | None, list[int]]:
    """Return the request and the descriptors that came with it, which are the caller's to close.

    None when the other side closed without a word.

    Raises:
        InvalidArgument: it is too large, too slow, broken off, or none of ours.
    """
    deadline = time.monotonic() + REQUEST_S
    descriptors: list[int] = []
    try:
        head = _exactly(connection, _LENGTH.size, deadline, descriptors)
        if not head:
            return None, descriptors
        (size,) = _LENGTH.unpack(head)
        if not 0 < size <= MAX_REQUEST_BYTES:
            raise _invalid(f"a request has 1 to {MAX_REQUEST_BYTES} bytes, not {size}", "length")
        request = Request.from_dict(_parsed(_exactly(connection, size, deadline, descriptors)))
        _check_descriptors(request, descriptors)
    except BaseException:
        for fd in descriptors:
            os.close(fd)
        raise
    return request, descriptors


def receive_answer(connection: socket.socket) -> dict[str, Any] | None:
    """Return the agent's answer; None when it ended without one.

    Raises:
        TimeoutError, OSError: nothing came in the time that is set on *connection*.
        InvalidArgument: it is no answer.
    """
    head = _plain(connection, _LENGTH.size)
    if len(head) < _LENGTH.size:
        return None
    (size,) = _LENGTH.unpack(head)
    if size > MAX_ANSWER_BYTES:
        raise _invalid("the answer is too large", "length")
    data = _plain(connection, size)
    return _parsed(data) if len(data) == size else None


def _exactly(
    connection: socket.socket, size: int, deadline: float, descriptors: list[int]
) -> bytes:
    """Return *size* bytes, b"" when there is not one; what comes along goes to *descriptors*."""
    data = bytearray()
    while len(data) < size:
        left_s = deadline - time.monotonic()
        if left_s <= 0:
            raise _invalid(f"it did not come in whole within {REQUEST_S:g} s", "request")
        connection.settimeout(left_s)
        try:
            block, passed, _flags, _from = socket.recv_fds(
                connection, min(size - len(data), _BLOCK_BYTES), 2, socket.MSG_CMSG_CLOEXEC
            )
        except TimeoutError:
            continue
        descriptors += passed
        if not block:
            if data or size != _LENGTH.size:
                raise _invalid("it broke off", "request")
            break
        data += block
    return bytes(data)


def _plain(connection: socket.socket, size: int) -> bytes:
    data = bytearray()
    while len(data) < size and (block := connection.recv(min(size - len(data), _BLOCK_BYTES))):
        data += block
    return bytes(data)


def _check_descriptors(request: Request, descriptors: Sequence[int]) -> None:
    """Make sure that a stream has the right end of one pipe, and nothing else has any.

    Only a pipe: what can be done by writing into another descriptor may depend on who writes.
    """
    if len(descriptors) != (request.stream is not None):
        raise _invalid("exactly one descriptor comes with a stream, none with another", "stream")
    for fd in descriptors:
        if not stat.S_ISFIFO(os.fstat(fd).st_mode):
            raise _invalid("the descriptor must be the end of a pipe", "stream")


def _parsed(data: bytes) -> dict[str, Any]:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise _invalid("it is no JSON", "request") from error
    if not isinstance(value, dict):
        raise _invalid("it is no JSON object", "request")
    return value


def _is_word(word: object) -> bool:
    return isinstance(word, str) and "\0" not in word


def _invalid(reason: str, field: str) -> InvalidArgument:
    return InvalidArgument(reason, field=field, operation="read request")
