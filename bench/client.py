"""A small HTTP/1.1 client on bare sockets, so that the client is not what is measured."""

from __future__ import annotations

import select
import socket
from collections import deque
from typing import Final

from bench.data import BLOCK_BYTES, Source

TIMEOUT_S: Final = 600.0


class Connection:
    """One keep-alive connection; one thread at a time."""

    def __init__(self, address: tuple[str, int], header: str) -> None:
        self._socket = socket.create_connection(address, timeout=TIMEOUT_S)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._header = header
        self._buffer = bytearray(BLOCK_BYTES)
        self._view = memoryview(self._buffer)

    def is_stale(self) -> bool:
        """Tell whether the server has hung up, as it does after its keep-alive time."""
        return bool(select.select([self._socket], [], [], 0)[0])

    def close(self) -> None:
        self._socket.close()

    def put(self, path: str, source: Source, size_bytes: int) -> None:
        """PUT all of *source*; header and body leave in separate segments, as curl's do."""
        self._send_head("PUT", path, f"Content-Length: {size_bytes}\r\n")
        while block := source.read(BLOCK_BYTES):
            self._socket.sendall(block)
        self._expect(path, 201, 204)

    def get(self, path: str) -> int:
        """GET the object, throw its bytes away, return how many there were."""
        self._send_head("GET", path)
        return self._expect(path, 200)

    def read_back(self, path: str) -> bytes:
        """GET the object's bytes."""
        self._send_head("GET", path)
        body: list[bytes] = []
        self._expect(path, 200, body=body)
        return b"".join(body)

    def delete(self, path: str) -> None:
        """DELETE the object."""
        self._send_head("DELETE", path)
        self._expect(path, 204)

    def _send_head(self, method: str, path: str, more: str = "") -> None:
        text = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n{self._header}{more}\r\n"
        self._socket.sendall(text.encode())

    def _expect(self, path: str, *statuses: int, body: list[bytes] | None = None) -> int:
        """Read one response and return the length of its body.

        Raises:
            ConnectionError: the server hung up.
            AssertionError: another status.
        """
        received = bytearray()
        while (end := received.find(b"\r\n\r\n")) < 0:
            count = self._socket.recv_into(self._view)
            if not count:
                raise ConnectionError(f"{path}: the server hung up")
            received += self._view[:count]
        header = bytes(received[:end]).lower()
        status = int(header[9:12])
        length = _content_length(header) if status != 204 else 0
        kept = body if status in statuses else (body := [])
        have = len(received) - end - 4
        if kept is not None:
            kept.append(bytes(received[end + 4 :]))
        while have < length:
            count = self._socket.recv_into(self._view, min(length - have, BLOCK_BYTES))
            if not count:
                raise ConnectionError(f"{path}: the server hung up")
            if kept is not None:
                kept.append(bytes(self._view[:count]))
            have += count
        if status not in statuses:
            raise AssertionError(f"{path}: status {status}: {b''.join(body or [])[:300]!r}")
        return length


def _content_length(header: bytes) -> int:
    start = header.find(b"\r\ncontent-length:")
    if start < 0:
        raise AssertionError(f"no Content-Length in {header!r}")
    return int(header[start + 17 :].split(b"\r\n", 1)[0])


class Connections:
    """Connections to one server that threads take and give back.

    Args:
        header: more header lines, each ended by CR LF.
    """

    def __init__(self, address: tuple[str, int], header: str = "") -> None:
        self._address = address
        self._header = header
        self._idle: deque[Connection] = deque()

    def take(self) -> Connection:
        """Return an idle connection, or a new one."""
        while True:
            try:
                connection = self._idle.pop()
            except IndexError:
                return Connection(self._address, self._header)
            if not connection.is_stale():
                return connection
            connection.close()

    def give_back(self, connection: Connection) -> None:
        self._idle.append(connection)

    def close(self) -> None:
        while self._idle:
            self._idle.pop().close()
