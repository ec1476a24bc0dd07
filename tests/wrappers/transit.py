"""A small server that speaks the transit part of Vault's HTTP interface, over a real socket."""

from __future__ import annotations

import base64
import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM


class Transit:
    """The keys, and what happens to a request. ``status`` other than 0 is answered to all."""

    def __init__(self) -> None:
        self.token = "hvs.test-token"
        self.keys = {"zfsstore": [AESGCM(os.urandom(32))]}
        self.oldest = 1
        self.status = 0
        self.requests: list[str] = []
        self.address = ""

    def rotate(self) -> None:
        self.keys["zfsstore"].append(AESGCM(os.urandom(32)))

    def answer(self, method: str, path: str, token: str, body: Any) -> tuple[int, Any]:
        self.requests.append(f"{method} {path}")
        if self.status:
            return self.status, {"errors": [f"the token is {token}"]}
        if token != self.token:
            return 403, {"errors": ["permission denied"]}
        parts = path.removeprefix("/v1/").split("/")
        if len(parts) != 3 or parts[0] != "transit" or parts[2] not in self.keys:
            return 404, {"errors": ["no handler for route"]}
        versions = self.keys[parts[2]]
        if method == "GET" and parts[1] == "keys":
            return 200, {"data": {"name": parts[2], "latest_version": len(versions)}}
        if method == "POST" and parts[1] == "encrypt":
            nonce = os.urandom(12)
            sealed = versions[-1].encrypt(nonce, base64.b64decode(body["plaintext"]), None)
            text = base64.b64encode(nonce + sealed).decode()
            return 200, {"data": {"ciphertext": f"vault:v{len(versions)}:{text}"}}
        if method == "POST" and parts[1] == "decrypt":
            return self.decrypt(versions, body["ciphertext"])
        return 404, {"errors": []}

    def decrypt(self, versions: list[AESGCM], ciphertext: str) -> tuple[int, Any]:
        try:
            _, version, text = ciphertext.split(":")
            number, data = int(version[1:]), base64.b64decode(text)
            if number < self.oldest:
                return 400, {"errors": ["ciphertext or signature version is disallowed by policy"]}
            plain = versions[number - 1].decrypt(data[:12], data[12:], None)
        except (ValueError, IndexError, InvalidTag):
            return 400, {"errors": ["invalid ciphertext"]}
        return 200, {"data": {"plaintext": base64.b64encode(plain).decode()}}


@contextmanager
def transit_server() -> Iterator[Transit]:
    """Serve on a free port of 127.0.0.1 until the end of the block."""
    transit = Transit()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.serve("GET", None)

        def do_POST(self) -> None:
            length = int(self.headers["Content-Length"])
            self.serve("POST", json.loads(self.rfile.read(length)))

        def serve(self, method: str, body: Any) -> None:
            token = self.headers.get("X-Vault-Token", "")
            status, value = transit.answer(method, self.path, token, body)
            content = json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        transit.address = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield transit
        finally:
            server.shutdown()
            thread.join()
