"""Uploads that break, stall or are refused: nothing is stored, and the client is told."""

from __future__ import annotations

import http.client
import json
import os
import select
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.host.serving import Client, Server, path_of, wait_until
from zfsstore.host import uploads
from zfsstore.host.uploads import Upload

DATA = os.urandom(300_000)


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


BROKEN = {
    "Content-Length, nothing sent": (["Content-Length: 300000"], b""),
    "Content-Length, half sent": (["Content-Length: 300000"], DATA[:150_000]),
    "Content-Length, one byte short": (["Content-Length: 300000"], DATA[:-1]),
    "chunked, nothing sent": (["Transfer-Encoding: chunked"], b""),
    "chunked, in a chunk": (["Transfer-Encoding: chunked"], chunk(DATA)[:1000]),
    "chunked, after a chunk": (["Transfer-Encoding: chunked"], chunk(DATA)),
    "chunked, in a size": (["Transfer-Encoding: chunked"], chunk(DATA) + b"1"),
    "chunked, before the last line": (["Transfer-Encoding: chunked"], chunk(DATA) + b"0\r\n"),
    "chunked, wrong size": (["Transfer-Encoding: chunked"], b"zz\r\n" + DATA),
    "chunked, negative size": (["Transfer-Encoding: chunked"], b"-5\r\n" + DATA),
    "chunked, too long a chunk": (["Transfer-Encoding: chunked"], b"5\r\n" + DATA),
}


@pytest.mark.parametrize("case", BROKEN)
@pytest.mark.parametrize("is_new", [True, False])
def test_a_broken_upload_commits_nothing(admin: Client, path: str, case: str, is_new: bool) -> None:
    if not is_new:
        assert admin.put(path, b"as it was").status == 201
    headers, body = BROKEN[case]
    answer = admin.raw(admin.head_of("PUT", path, *headers) + body, close=True)
    assert answer == b"" or answer.startswith(b"HTTP/1.1 400 ")
    got = admin.get(path)
    assert (got.status, got.body) == (404, got.body) if is_new else (200, b"as it was")


def test_broken_uploads_leave_no_files(admin: Client, server: Server, path: str) -> None:
    assert admin.put(path, b"x").status == 201
    before = _stored(server)
    for headers, body in BROKEN.values():
        admin.raw(admin.head_of("PUT", path, *headers) + body, close=True)
    assert _stored(server) == before


def _stored(server: Server) -> set[Path]:
    objects = server.data_dir / "objects"
    return {file for file in objects.rglob("*") if "state" not in file.parts and file.is_file()}


def test_a_reset_connection_commits_nothing(admin: Client, path: str) -> None:
    connection = socket.create_connection(("127.0.0.1", admin.port))
    connection.sendall(admin.head_of("PUT", path, "Content-Length: 300000") + DATA[:1000])
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    connection.close()
    assert admin.get(path).status == 404


def test_a_stalled_upload_is_cut_off(admin: Client, path: str) -> None:
    """The session's server waits for 1.5 s."""
    with socket.create_connection(("127.0.0.1", admin.port), 20) as connection:
        connection.sendall(admin.head_of("PUT", path, "Content-Length: 300000") + DATA[:1000])
        answer = connection.recv(65536)
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert admin.get(path).status == 404


def test_a_stalled_request_head_is_cut_off(admin: Client) -> None:
    with socket.create_connection(("127.0.0.1", admin.port), 20) as connection:
        connection.sendall(b"GET /cdmi/ HTTP/1.1\r\nHost: te")
        assert connection.recv(65536) == b""


def test_a_stalled_download_frees_its_thread(admin: Client, server: Server, path: str) -> None:
    """A client that takes nothing must not hold the object's descriptor for ever."""
    assert admin.put(path, b"x" * 30_000_000).status == 201
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    with connection:
        connection.connect(("127.0.0.1", admin.port))
        connection.sendall(admin.head_of("GET", path))
        assert connection.recv(100).startswith(b"HTTP/1.1 200 ")
        assert _open_objects(server) == 1
        deadline = time.monotonic() + 20
        while _open_objects(server) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert _open_objects(server) == 0


def _open_objects(server: Server) -> int:
    count = 0
    for worker in server.workers():
        for descriptor in Path(f"/proc/{worker}/fd").iterdir():
            try:
                count += ".zfsstore/objects/" in os.readlink(descriptor)
            except FileNotFoundError:
                continue
    return count


def test_slow_uploads_do_not_keep_others_waiting(admin: Client, server: Server, path: str) -> None:
    """32 uploads that send nothing more hold 32 threads of 64 in each worker."""
    head = admin.head_of("PUT", path, "Content-Length: 300000")
    stalled = [socket.create_connection(("127.0.0.1", admin.port)) for _ in range(32)]
    try:
        for connection in stalled:
            connection.sendall(head)
        started = time.monotonic()
        assert server.client().get("/cdmi/").status == 200
        assert time.monotonic() - started < 1.4
    finally:
        for connection in stalled:
            connection.close()


@pytest.mark.parametrize("count", [31, pytest.param(32, marks=pytest.mark.slow)])
def test_stalled_uploads_up_to_the_last_thread(lone_worker: Server, count: int) -> None:
    """With 31 of its 32 threads held a GET is answered at once; with 32, when they are cut off."""
    client = lone_worker.client()
    path = path_of("b", "stalled")
    stalled = [socket.create_connection(("127.0.0.1", client.port), 20) for _ in range(count)]
    try:
        for connection in stalled:
            connection.sendall(client.head_of("PUT", path, "Content-Length: 300000") + DATA[:1000])
        wait_until(lambda: _uploads(lone_worker) == count)
        assert lone_worker.client().get(path).status == 404
        cut_off, _, _ = select.select(stalled, [], [], 0)
        assert bool(cut_off) is (count == 32)
        for connection in stalled:
            assert connection.recv(65536).startswith(b"HTTP/1.1 408 ")
    finally:
        for connection in stalled:
            connection.close()
    wait_until(lambda: _uploads(lone_worker) == 0)
    assert client.get(path).status == 404


@pytest.fixture(scope="module")
def lone_worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    running = Server(
        tmp_path_factory.mktemp("lone") / "data", workers=1, threads=32, stall_timeout_s=3.0
    ).start()
    assert running.client().put(path_of("b", is_container=True)).status == 201
    yield running
    assert running.stop() == 0


def _uploads(server: Server) -> int:
    """Return how many uploads have reached the disk."""
    return sum(1 for _ in (server.data_dir / "objects").rglob(".tmp-*"))


def test_an_early_refusal_reaches_a_client_that_is_still_sending(admin: Client) -> None:
    """http.client sends the whole body before it reads, as many clients do."""
    body = b"x" * 6_000_000
    missing = admin.put(path_of("no such bucket", "object"), body)
    assert (missing.status, missing.error["code"]) == (404, "volume_not_found")
    anonymous = Client(admin.port, None, "")
    refused = anonymous.put(path_of("b", "object"), body)
    assert (refused.status, refused.headers["www-authenticate"][:5]) == (401, "Basic")


def test_a_refused_client_that_stalls_holds_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "DRAIN_S", 0.1)
    ours, theirs = socket.socketpair()
    with ours, theirs, ours.makefile("rb") as body:
        environ = {"wsgi.input": body, "gunicorn.socket": ours, "CONTENT_LENGTH": "100"}
        theirs.sendall(b"x")
        Upload(environ).drain()
        assert b"" == ours.recv(1)


def test_a_body_of_unknown_end_is_refused(admin: Client, path: str) -> None:
    for headers in (
        ["Content-Length: 5", "Transfer-Encoding: chunked"],
        ["Content-Length: 5", "Content-Length: 6"],
        ["Content-Length: -5"],
        ["Content-Length: five"],
        ["Transfer-Encoding: gzip"],
    ):
        answer = admin.raw(admin.head_of("PUT", path, *headers) + b"12345", close=True)
        assert answer.split(b" ")[1] in (b"400", b"501"), headers
        assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["code"]
        assert admin.get(path).status == 404


def test_no_body_at_all_is_an_empty_object(admin: Client, path: str) -> None:
    answer = admin.raw(admin.head_of("PUT", path, "Connection: close"))
    assert answer.startswith(b"HTTP/1.1 201 ")
    assert admin.get(path).body == b""


def test_a_second_request_on_the_same_connection_is_not_confused(admin: Client, path: str) -> None:
    """An answer that is given before the body was read must not leave the rest of it behind."""
    head = admin.head_of("PUT", path_of("no such bucket", "x"), "Content-Length: 100000")
    second = admin.head_of("GET", "/cdmi/", "Connection: close")
    answers = admin.raw(head + b"GET /evil HTTP/1.1\r\n" * 5000 + second)
    assert answers.startswith(b"HTTP/1.1 404 ")
    assert answers.count(b"HTTP/1.1 ") == 2
    assert b"HTTP/1.1 200 " in answers


class TestLimit:
    @pytest.fixture(scope="class")
    @staticmethod
    def limited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
        running = Server(
            tmp_path_factory.mktemp("limited") / "data",
            workers=1,
            max_object_bytes=1000,
            http_parser="python",
        ).start()
        client = running.client()
        assert client.put(path_of("b", is_container=True)).status == 201
        yield client
        assert running.stop() == 0

    @pytest.mark.parametrize("size", [1001, 100_000])
    def test_an_upload_over_the_limit_is_413(self, limited: Client, size: int) -> None:
        path = path_of("b", "object")
        whole = limited.put(path, b"x" * size)
        chunked = limited.request("PUT", path, iter([b"x" * size]))
        for answer in (whole, chunked):
            assert (answer.status, answer.error["code"]) == (413, "too_large")
        assert limited.get(path).status == 404

    def test_an_upload_at_the_limit_is_taken(self, limited: Client) -> None:
        assert limited.put(path_of("b", "exact"), b"x" * 1000).status == 201
        assert limited.request("PUT", path_of("b", "parts"), iter([b"x"] * 1000)).status == 201

    @pytest.mark.parametrize("case", BROKEN)
    def test_the_python_parser_sees_broken_uploads_too(self, limited: Client, case: str) -> None:
        headers, body = BROKEN[case]
        headers = [header.replace("300000", "1000") for header in headers]
        path = path_of("b", f"broken {case}".replace(",", ""))
        limited.raw(limited.head_of("PUT", path, *headers) + body[:999], close=True)
        assert limited.get(path).status == 404


def test_keep_alive_has_no_stalls(admin: Client, path: str) -> None:
    """No timing is asserted; bench/ measures. This proves one connection serves many requests."""
    connection = http.client.HTTPConnection("127.0.0.1", admin.port)
    ports = set()
    for _ in range(20):
        connection.request("PUT", path, b"x", admin.authorization)
        response = connection.getresponse()
        response.read()
        ports.add(connection.sock.getsockname()[1])
    assert len(ports) == 1
