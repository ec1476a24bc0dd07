"""A real server in a process of its own, and a client that sends exactly what a test says."""

from __future__ import annotations

import base64
import http.client
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tests.host import on_datasets

ROOT = Path(__file__).resolve().parents[2]
START_TIMEOUT_S = 30.0

_PROGRAM = """
import json, sys
from zfsstore.host.config import Config
from zfsstore.host.server import serve
sys.exit(serve(Config.from_dict(json.loads(sys.argv[1]))))
"""


@dataclass(frozen=True)
class Answer:
    """An HTTP answer; header names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> Any:
        return self.json()["error"]


class Server:
    """Starts and stops ``serve`` on a data directory; port 0 is a free one, kept by a restart."""

    def __init__(self, data_dir: Path, **settings: Any) -> None:
        self.data_dir = data_dir
        self.settings = {"data_dir": str(data_dir), "listen": "127.0.0.1:0", **settings}
        self.output = ""
        self.port = 0
        self._process: subprocess.Popen[str] | None = None
        self._clients: list[Client] = []

    def start(self) -> Server:
        """Start and wait until it accepts connections."""
        if on_datasets.is_wanted() and not self.data_dir.exists():
            on_datasets.configure(self.data_dir)
        log = (self.data_dir.parent / f"{self.data_dir.name}.log").open("a")
        with log:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _PROGRAM, json.dumps(self.settings)],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                cwd=ROOT,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                process_group=0,
            )
        assert self._process.stdout is not None
        lines = []
        for line in self._process.stdout:
            lines.append(line)
            if "hostname" in line:
                break
        self.output = "".join(lines)
        if "at http://" not in self.output:
            raise RuntimeError(f"the server did not start: {self.log()}")
        self.port = int(self.output.split("at http://")[1].split()[0].rpartition(":")[2])
        self.settings["listen"] = f"127.0.0.1:{self.port}"
        wait_until(lambda: bool(self.workers()))
        return self

    def log(self) -> str:
        return (self.data_dir.parent / f"{self.data_dir.name}.log").read_text()

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def workers(self) -> list[int]:
        """Return the process ids of the workers."""
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        return [int(child) for child in children]

    def kill(self) -> None:
        """Kill the master as a crash would; the workers must go with it."""
        workers = self.workers()
        self._end(signal.SIGKILL)
        wait_until(lambda: not any(_exists(worker) for worker in workers))

    def kill_worker(self) -> None:
        """Kill a worker as a crash would; return when another has taken its place."""
        before = self.workers()
        os.kill(before[0], signal.SIGKILL)
        wait_until(lambda: before[0] not in self.workers() and len(self.workers()) == len(before))

    def stop(self) -> int:
        """Stop gracefully; return the exit status."""
        for client in self._clients:  # a stopping worker waits for idle connections
            client.close()
        self._clients.clear()
        return self._end(signal.SIGTERM)

    def _end(self, number: int) -> int:
        if self._process is None:
            return 0
        if self._process.poll() is None:
            self._process.send_signal(number)
        status = self._process.wait(START_TIMEOUT_S)
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._process = None
        return status

    @property
    def password(self) -> str:
        return (self.data_dir / "administrator.password").read_text().strip()

    def client(self, user: str = "administrator", password: str | None = None) -> Client:
        client = Client(self.port, user, self.password if password is None else password)
        self._clients.append(client)
        return client


class Client:
    """One keep-alive connection as one user."""

    def __init__(self, port: int, user: str | None, password: str) -> None:
        self.port = port
        self.authorization: dict[str, str] = {}
        if user is not None:
            token = base64.b64encode(f"{user}:{password}".encode()).decode()
            self.authorization = {"Authorization": f"Basic {token}"}
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)

    def request(
        self,
        method: str,
        path: str,
        body: bytes | Iterable[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Send a request; *path* goes out as it is."""
        sent = {**self.authorization, **(headers or {})}
        if self._is_ended():
            self._connection.close()
        try:
            self._connection.request(method, path, body, sent)
        except (BrokenPipeError, ConnectionResetError):
            pass  # an early answer may be there to read
        except http.client.CannotSendRequest:
            self._connection.close()
            self._connection.request(method, path, body, sent)
        try:
            response = self._connection.getresponse()
            names = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, names, response.read())
        except BaseException:
            self._connection.close()
            raise

    def _is_ended(self) -> bool:
        """Tell whether the server has closed the connection, as it does when it is idle."""
        connected = self._connection.sock
        return connected is not None and bool(select.select([connected], [], [], 0)[0])

    def close(self) -> None:
        """Close the connection; the next request opens another."""
        self._connection.close()

    def put_json(self, path: str, value: object) -> Answer:
        return self.request("PUT", path, json.dumps(value).encode())

    def get(self, path: str, **headers: str) -> Answer:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.request("GET", path, headers=sent)

    def put(self, path: str, body: bytes = b"", **headers: str) -> Answer:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.request("PUT", path, body, sent)

    def delete(self, path: str, **headers: str) -> Answer:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.request("DELETE", path, headers=sent)

    def raw(self, request: bytes, *, close: bool = False, timeout_s: float = 30.0) -> bytes:
        """Send bytes on a new connection; return all that comes back until it is closed."""
        with socket.create_connection(("127.0.0.1", self.port), timeout_s) as connection:
            received = b""
            with suppress(OSError):  # the server may have answered and left already
                connection.sendall(request)
                if close:
                    connection.shutdown(socket.SHUT_WR)
            with suppress(ConnectionResetError):
                while part := connection.recv(65536):
                    received += part
            return received

    def head_of(self, method: str, path: str, *headers: str) -> bytes:
        """Return the head of a request, for ``raw``."""
        own = [f"{name}: {value}" for name, value in self.authorization.items()]
        lines = [f"{method} {path} HTTP/1.1", "Host: test", *own, *headers, "", ""]
        return "\r\n".join(lines).encode("latin-1")


def path_of(*names: str, is_container: bool = False) -> str:
    """Return the address of an object or container."""
    return "/cdmi/" + "/".join(quote(name, safe="") for name in names) + "/" * is_container


def wait_until(condition: Any, timeout_s: float = START_TIMEOUT_S) -> None:
    """Poll until *condition* holds."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError("it did not happen in time")
        time.sleep(0.02)


def _exists(process_id: int) -> bool:
    """Tell whether a process runs; a zombie does not."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{process_id}/status").read_text()
    except FileNotFoundError:
        return False
