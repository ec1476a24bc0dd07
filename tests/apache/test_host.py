"""The same behaviour under Apache with an egg, under Apache with a wheel, and under our server."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.apache.deployment import ALICE, Deployment, basic

pytestmark = pytest.mark.apache

NAMES = [
    "plain",
    "with space",
    "Größe",
    "日本語",
    "100%",
    "%2F written out",
    "a+b&c=d;e?f#g",
    "back\\slash",
    "quote'\"<>",
    "line\nbreak",
    "tab\tand\x01",
    "trailing.",
    "...",
    "~.-_!$()*,:@",
    "x" * 255,
    "ä" * 500,
]


def url(name: str) -> str:
    return f"/cdmi/box/{quote(name)}"


def stored_files(deployment: Deployment) -> set[Path]:
    return {path for path in deployment.store.rglob("*") if path.is_file()}


def wait_until(holds: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < deadline, f"it never came that {what}"
        time.sleep(0.02)


@pytest.mark.parametrize("name", NAMES, ids=lambda name: ascii(name)[:20])
def test_object_of_any_name_is_put_read_and_deleted(deployment: Deployment, name: str) -> None:
    data = hashlib.sha256(name.encode()).digest() * 100
    put = deployment.request("PUT", url(name), user=ALICE, body=data)
    assert 201 == put.status, put
    got = deployment.request("GET", url(name), user=ALICE)
    assert (200, data) == (got.status, got.body)
    deleted = deployment.request("DELETE", url(name), user=ALICE)
    assert 204 == deleted.status, deleted
    assert 404 == deployment.request("GET", url(name), user=ALICE).status


def test_objects_lie_where_the_module_keeps_them(deployment: Deployment) -> None:
    before = stored_files(deployment)
    deployment.request("PUT", url("located"), user=ALICE, body=b"here")
    (new,) = stored_files(deployment) - before
    assert b"here" == new.read_bytes()
    deployment.request("DELETE", url("located"), user=ALICE)
    assert before == stored_files(deployment)


def test_range_is_the_slice(deployment: Deployment) -> None:
    data = bytes(range(256)) * 4096
    deployment.request("PUT", url("sliced"), user=ALICE, body=data)
    for first, last in ((0, 0), (1, 65536), (len(data) - 3, len(data) + 5)):
        headers = {"Range": f"bytes={first}-{last}"}
        got = deployment.request("GET", url("sliced"), user=ALICE, headers=headers)
        assert (206, data[first : last + 1]) == (got.status, got.body)


def test_upload_of_unknown_length_is_stored(deployment: Deployment) -> None:
    body = b"5\r\nhello\r\n7\r\n, world\r\n0\r\n\r\n"
    headers = {"Transfer-Encoding": "chunked"}
    put = deployment.request("PUT", url("chunked"), user=ALICE, body=body, headers=headers)
    assert 201 == put.status, put
    assert b"hello, world" == deployment.request("GET", url("chunked"), user=ALICE).body


@pytest.mark.parametrize(
    ("framing", "body"),
    [
        ("Content-Length: 1000000", b"x" * 300_000),
        ("Transfer-Encoding: chunked", b"f4240\r\n" + b"x" * 300_000),
        ("Transfer-Encoding: chunked", b"493e0\r\n" + b"x" * 300_000 + b"\r\n"),
    ],
    ids=["content-length", "inside-a-chunk", "between-chunks"],
)
def test_truncated_upload_leaves_nothing(
    deployment: Deployment, framing: str, body: bytes, request: pytest.FixtureRequest
) -> None:
    before = stored_files(deployment)
    target = f"/cdmi/box/truncated-{request.node.callspec.id}"
    head = f"PUT {target} HTTP/1.1\r\nHost: x\r\nAuthorization: {basic(ALICE)}\r\n{framing}\r\n\r\n"
    with deployment.connect() as client:
        client.sendall(head.encode() + body)
        wait_until(lambda: stored_files(deployment) != before, "the upload begins")
    wait_until(lambda: stored_files(deployment) == before, "nothing is left of it")
    assert 404 == deployment.request("GET", target, user=ALICE).status


def test_changed_arguments_take_effect_in_every_process_at_once(deployment: Deployment) -> None:
    deployment.register(reserve_bytes=1 << 60)
    full = [deployment.request("PUT", url("kept free"), user=ALICE, body=b"x") for _ in range(20)]
    deployment.register(reserve_bytes=0)
    fits = [deployment.request("PUT", url("kept free"), user=ALICE, body=b"x") for _ in range(20)]
    assert {507} == {answer.status for answer in full}
    assert {201, 204} == {answer.status for answer in fits}


def test_unwanted_users_are_refused(deployment: Deployment) -> None:
    for user in (None, "alice:wrong", "nobody:nothing"):
        answer = deployment.request("GET", "/cdmi/box/", user=user)
        assert 401 == answer.status
        assert answer.headers["www-authenticate"].startswith("Basic ")


def test_upload_into_killed_workers_leaves_no_object(deployment: Deployment) -> None:
    before = stored_files(deployment)
    head = f"PUT {url('killed')} HTTP/1.1\r\nHost: x\r\nAuthorization: {basic(ALICE)}\r\n"
    with deployment.connect() as client:
        client.sendall(head.encode() + b"Content-Length: 1000000\r\n\r\n" + b"x" * 300_000)
        wait_until(lambda: stored_files(deployment) != before, "the upload begins")
        deployment.server.kill_workers()
    deployment.wait_until_ready()
    assert 404 == deployment.request("GET", url("killed"), user=ALICE).status
    assert all(path.name.startswith(".tmp-") for path in stored_files(deployment) - before)


def test_restart_keeps_everything(deployment: Deployment) -> None:
    data = b"durable" * 100_000
    deployment.request("PUT", url("kept"), user=ALICE, body=data)
    deployment.server.stop()
    deployment.server.start()
    deployment.wait_until_ready()
    got = deployment.request("GET", url("kept"), user=ALICE)
    assert (200, data) == (got.status, got.body)
