"""The raw HTTP baseline: sockets, files and ``os.*``, as little Python as there can be.

It stores what is PUT under its last path component (temporary file, fsync, rename, fsync of the
directory) and sends it with sendfile. It checks nothing: no users, no names, no metadata. Run as
``python -m bench.rawserver DIRECTORY PROCESSES``; it prints its port.
"""

from __future__ import annotations

import os
import socket
import sys
import threading
from pathlib import Path
from typing import Final

_BUFFER_BYTES: Final = 1024 * 1024
_CREATED: Final = b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n"
_NO_CONTENT: Final = b"HTTP/1.1 204 No Content\r\n\r\n"


class _Connection:
    """One client, served until it hangs up."""

    def __init__(self, client: socket.socket, directory: int) -> None:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._client = client
        self._directory = directory
        self._buffer = bytearray(_BUFFER_BYTES)
        self._view = memoryview(self._buffer)

    def serve(self) -> None:
        """Answer requests until the client hangs up."""
        with self._client:
            while head := self._read_head():
                header, filled = head
                method, path = header.split(b" ", 2)[:2]
                name = path.rsplit(b"/", 1)[1].decode()
                if method == b"PUT":
                    self._put(name, header, filled)
                elif method == b"GET":
                    self._get(name)
                else:
                    os.unlink(name, dir_fd=self._directory)
                    self._client.sendall(_NO_CONTENT)

    def _read_head(self) -> tuple[bytes, bytes] | None:
        """Return the header, and what of the body came with it; None at the end."""
        received = b""
        while b"\r\n\r\n" not in received:
            if not (block := self._client.recv(65536)):
                return None
            received += block
        header, _, rest = received.partition(b"\r\n\r\n")
        return header, rest

    def _put(self, name: str, header: bytes, first: bytes) -> None:
        lowered = header.lower()
        start = lowered.index(b"content-length:") + len(b"content-length:")
        left = int(lowered[start:].split(b"\r\n", 1)[0]) - len(first)
        temporary = f".tmp-{name}"
        flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC
        fd = os.open(temporary, flags, 0o444, dir_fd=self._directory)
        try:
            os.write(fd, first)
            while left:
                count = self._client.recv_into(self._view, min(left, _BUFFER_BYTES))
                if not count:
                    raise ConnectionError("the client hung up")
                os.write(fd, self._view[:count])
                left -= count
            os.fsync(fd)
        finally:
            os.close(fd)
        os.rename(temporary, name, src_dir_fd=self._directory, dst_dir_fd=self._directory)
        os.fsync(self._directory)
        self._client.sendall(_CREATED)

    def _get(self, name: str) -> None:
        fd = os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=self._directory)
        try:
            size = os.fstat(fd).st_size
            header = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size
            self._client.send(header, socket.MSG_MORE)
            offset = 0
            while offset < size:
                offset += os.sendfile(self._client.fileno(), fd, offset, size - offset)
        finally:
            os.close(fd)


def main() -> None:
    """Listen on a free port, fork, serve until killed."""
    directory, processes = Path(sys.argv[1]), int(sys.argv[2])
    directory.mkdir(parents=True, exist_ok=True)
    listener = socket.create_server(("127.0.0.1", 0), backlog=128)
    print(listener.getsockname()[1], flush=True)
    for _ in range(processes - 1):
        if os.fork() == 0:
            break
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    while True:
        client, _ = listener.accept()
        threading.Thread(target=_Connection(client, fd).serve, daemon=True).start()


if __name__ == "__main__":
    main()
