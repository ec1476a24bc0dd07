"""An HTTP proxy between module and service that misbehaves on request."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

_HOP = frozenset({"connection", "transfer-encoding", "keep-alive", "content-length", "date"})


@dataclass(slots=True)
class Exchange:
    """One request and the answer to it; a fault changes either."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    status: int = 0
    answer_headers: dict[str, str] = field(default_factory=dict)
    answer: bytes = b""
    cut_after: int | None = None
    """End the connection after so many bytes of the answer."""


Fault = Callable[[Exchange], None]


class _QuietServer(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of connections that a test, or the client, cut."""


class Proxy:
    """Passes requests on; ``before`` sees them first, ``after`` sees the answers.

    A ``before`` that sets a status answers in place of the service.
    """

    def __init__(self, target: str) -> None:
        self.before: Fault | None = None
        self.after: Fault | None = None
        self.requests: list[tuple[str, str]] = []
        self.released = threading.Event()
        self._target = urlsplit(target).netloc
        self._server = _QuietServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def reset(self) -> None:
        """Behave again."""
        self.before = self.after = None
        self.requests.clear()
        self.released.clear()

    def hang(self, exchange: Exchange) -> None:
        """A fault: say nothing until the test is over."""
        self.released.wait(30)
        exchange.cut_after = 0

    def close(self) -> None:
        self.released.set()
        self._server.shutdown()
        self._server.server_close()

    def exchange(self, exchange: Exchange) -> None:
        """Answer a request, faults included."""
        self.requests.append((exchange.method, exchange.path))
        if self.before is not None:
            self.before(exchange)
        if not exchange.status and exchange.cut_after is None:
            self._ask(exchange)
            if self.after is not None:
                self.after(exchange)

    def _ask(self, exchange: Exchange) -> None:
        connection = http.client.HTTPConnection(self._target, timeout=30)
        try:
            connection.request(
                exchange.method, exchange.path, exchange.body, headers=exchange.headers
            )
            answer = connection.getresponse()
            exchange.status = answer.status
            exchange.answer_headers = {
                k: v for k, v in answer.getheaders() if k.lower() not in _HOP
            }
            exchange.answer = answer.read()
            if exchange.method == "HEAD":
                exchange.answer_headers["Content-Length"] = answer.getheader("Content-Length", "0")
        finally:
            connection.close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self) -> None:
                size = int(self.headers.get("Content-Length", 0))
                headers = {k: v for k, v in self.headers.items() if k.lower() != "expect"}
                exchange = Exchange(self.command, self.path, headers, self.rfile.read(size))
                proxy.exchange(exchange)
                self.answer(exchange)

            do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = handle_any  # noqa: N815

            def answer(self, exchange: Exchange) -> None:
                if exchange.cut_after == 0:
                    self.close_connection = True
                    return
                self.send_response(exchange.status)
                for name, value in exchange.answer_headers.items():
                    self.send_header(name, value)
                if exchange.method != "HEAD":
                    self.send_header("Content-Length", str(len(exchange.answer)))
                self.end_headers()
                if exchange.method != "HEAD":
                    self.wfile.write(exchange.answer[: exchange.cut_after])
                if exchange.cut_after is not None:
                    self.close_connection = True

            def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002
                pass

        return Handler


@contextmanager
def proxy_to(target: str) -> Iterator[Proxy]:
    running = Proxy(target)
    try:
        yield running
    finally:
        running.close()


def refuse(status: int, code: str) -> Fault:
    """Return a fault that answers with an S3 error."""

    def fault(exchange: Exchange) -> None:
        exchange.status = status
        exchange.answer_headers = {"Content-Type": "application/xml"}
        exchange.answer = f"<Error><Code>{code}</Code><Message>m</Message></Error>".encode()

    return fault


def flipped(data: bytes, place: int) -> bytes:
    """Return *data* with one bit changed."""
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


def once(fault: Fault, method: str) -> Fault:
    """Return a fault of the first request with this method."""
    done: list[bool] = []

    def first(exchange: Exchange) -> None:
        if exchange.method == method and not done:
            done.append(True)
            fault(exchange)

    return first


def of(method: str, fault: Fault, *, path: str = "") -> Fault:
    def chosen(exchange: Exchange) -> None:
        if exchange.method == method and path in exchange.path:
            fault(exchange)

    return chosen
