"""What clients get for requests that are wrong: the right status, and JSON that says why."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.host.serving import Client, Server, path_of

TREE = [
    # method, path, status, code
    ("GET", "/", 404, "not_found"),
    ("GET", "/elsewhere", 404, "not_found"),
    ("GET", "/cdmi/no%20such/", 404, "volume_not_found"),
    ("GET", "/cdmi/no%20such", 404, "volume_not_found"),
    ("GET", "/cdmi/shared/absent", 404, "object_not_found"),
    ("GET", "/cdmi/shared/absent/", 404, "object_not_found"),
    ("DELETE", "/cdmi/shared/absent", 404, "object_not_found"),
    ("DELETE", "/cdmi/shared/absent/", 404, "object_not_found"),
    ("DELETE", "/cdmi/no%20such/", 404, "volume_not_found"),
    ("PUT", "/cdmi/shared/absent/object", 404, "not_found"),
    ("PUT", "/cdmi/shared/absent/container/", 404, "not_found"),
    ("PUT", "/cdmi/no%20such/object", 404, "volume_not_found"),
    ("PUT", "/cdmi/object-in-the-root", 400, "invalid_argument"),
    ("DELETE", "/cdmi/object-in-the-root", 400, "invalid_argument"),
    ("PUT", "/cdmi/", 405, "method_not_allowed"),
    ("DELETE", "/cdmi/", 405, "method_not_allowed"),
    ("POST", "/cdmi/shared/", 405, "method_not_allowed"),
    ("PATCH", "/cdmi/shared/x", 405, "method_not_allowed"),
    ("POST", "/cdmi/system_configuration/users/x", 405, "method_not_allowed"),
    ("GET", "/cdmi/system_configuration/nothing/", 404, "not_found"),
    ("GET", "/cdmi/system_configuration/users/absent", 404, "not_found"),
    ("PUT", "/cdmi/cdmi_mine/", 400, "invalid_name"),
    ("GET", "/cdmi/shared//x", 400, "invalid_name"),
    ("PUT", "/cdmi/shared//x", 400, "invalid_name"),
    ("GET", "/cdmi/shared/../x", 400, "invalid_name"),
    ("GET", "/cdmi/../../etc/passwd", 400, "invalid_name"),
    ("PUT", "/cdmi/shared/..", 400, "invalid_name"),
    ("PUT", "/cdmi/../", 400, "invalid_name"),
    ("PUT", "/cdmi/%2e%2e/", 400, "invalid_name"),
    ("PUT", "/cdmi/shared/%2e%2e/x", 400, "invalid_name"),
    ("PUT", "/cdmi/shared/./x", 400, "invalid_name"),
    ("PUT", "/cdmi/shared/a%2Fb", 400, "invalid_name"),
    ("PUT", "/cdmi/shared/a%00b", 400, "invalid_name"),
    ("PUT", "/cdmi/a%00b/", 400, "invalid_name"),
    ("PUT", "/cdmi/shared/%zz", 400, "invalid_argument"),
    ("PUT", "/cdmi/shared/%", 400, "invalid_argument"),
    ("PUT", "/cdmi/shared/%ff", 400, "invalid_argument"),
    ("PUT", "/cdmi/shared/%ED%A0%80", 400, "invalid_argument"),
    ("PUT", "/cdmi/shared/" + "k" * 1025, 400, "invalid_name"),
    ("PUT", "/cdmi/" + "b" * 300 + "/", 400, "invalid_name"),
    ("GET", "/cdmi/shared/" + "k" * 8200, 414, "address_too_long"),
    ("GET", "/cdmi/shared/?limit=0", 400, "invalid_argument"),
    ("GET", "/cdmi/shared/?limit=1001", 400, "invalid_argument"),
    ("GET", "/cdmi/shared/?limit=x", 400, "invalid_argument"),
    ("GET", "/cdmi/shared/?limit=1&limit=2", 400, "invalid_argument"),
    ("GET", "/cdmi/shared/?page=2", 400, "invalid_argument"),
    ("GET", "/cdmi/shared/?after=%ff", 400, "invalid_argument"),
    ("PUT", "/cdmi/shared/x?versionId=1", 400, "invalid_argument"),
]


@pytest.mark.parametrize(("method", "path", "status", "code"), TREE)
def test_wrong_requests(
    admin: Client, shared_bucket: str, method: str, path: str, status: int, code: str
) -> None:
    raw = admin.raw(admin.head_of(method, path, "Content-Length: 0", "Connection: close"))
    head, _, body = raw.partition(b"\r\n\r\n")
    error = json.loads(body)["error"]
    assert (int(head.split()[1]), error["code"]) == (status, code), error
    assert error["message"]
    assert set(error) <= {"code", "message", "hint", "field"}
    assert b"Traceback" not in body
    assert (b"\r\nallow: " in head) == (status == 405)


@pytest.mark.parametrize(
    "headers",
    [
        {"If-Match": "no quotes"},
        {"If-None-Match": '"a" "b"'},
        {"Content-Range": "bytes 0-1/5"},
        {"Content-Type": "x" * 300},
        {"Content-Type": "te\xffxt"},
    ],
)
def test_wrong_headers_of_a_put(admin: Client, path: str, headers: dict[str, str]) -> None:
    answer = admin.request("PUT", path, b"x", headers)
    assert (answer.status, answer.error["field"]) == (400, next(iter(headers)))
    assert admin.get(path).status == 404


def test_a_cdmi_document_is_not_stored_as_data(admin: Client, path: str) -> None:
    answer = admin.put(path, b"{}", Content_Type="application/cdmi-object")
    assert (answer.status, answer.error["code"]) == (501, "not_supported")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"{]",
        b"nothing",
        b"\xff",
        b'{"a": NaN}',
        b"[" * 100_000,
        b'{"a": 1, "a": 2}',
        b'{"policy": "\\ud800"}',
        b'{"\\ud800": 1}',
        b'{"a": 1e999}',
        b'{"a": ' + b"9" * 5000 + b"}",
        b"5",
    ],
)
def test_wrong_json(admin: Client, body: bytes) -> None:
    answer = admin.put(path_of("system_configuration", "users", "wrong"), body)
    assert (answer.status, answer.error["code"]) == (400, "invalid_argument")
    assert answer.error["field"] == "body"


def test_too_much_json(admin: Client) -> None:
    answer = admin.put(path_of("system_configuration", "users", "wrong"), b" " * 2_000_000)
    assert answer.status == 413


@pytest.mark.parametrize(
    "request_head",
    [b"NONSENSE\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"GET /\x01 HTTP/1.1\r\nHost: x\r\n\r\n",
     b"GET / HTTP/1.1\r\nno colon\r\n\r\n", b"GET / HTTP/1.1\r\nX: " + b"x" * 9000 + b"\r\n\r\n"],
)  # fmt: skip
def test_what_is_no_http_is_answered_in_json_too(admin: Client, request_head: bytes) -> None:
    head, _, body = admin.raw(request_head).partition(b"\r\n\r\n")
    assert int(head.split()[1]) in (400, 431)
    assert json.loads(body)["error"]["code"] in ("bad_request", "headers_too_large")


@pytest.mark.parametrize("password", ["wrong", ""])
def test_log_in(server: Server, password: str) -> None:
    for user in ("administrator", "nobody"):
        answer = server.client(user, password).get("/cdmi/")
        assert answer.status == 401
        assert answer.headers["www-authenticate"].startswith('Basic realm="zfsstore"')
        assert answer.error["code"] == "unauthenticated"


def test_a_failing_module_is_a_500_without_details(
    admin: Client, server: Server, tmp_path: Path
) -> None:
    """Ordinary users learn nothing about the inside; the log has it, and administrators see it."""
    storage = tmp_path / "storage"
    storage.mkdir()
    spec = {"module": "simple.simple.SimpleStorage", "args": {"storage_dir": str(storage)}}
    assert (
        admin.put_json(path_of("system_configuration", "vendor_modules", "lost"), spec).status
        == 204
    )
    answer = admin.put_json(path_of("system_configuration", "users", "lost"), {"policy": "lost"})
    user = server.client("lost", answer.json()["password"])
    user.put(path_of("b", is_container=True))
    assert user.put(path_of("b", "object"), b"x").status == 201
    for file in storage.rglob("*"):
        if file.is_file() and file.read_bytes() == b"x":
            file.unlink()
    answer = user.get(path_of("b", "object"))
    assert (answer.status, answer.error["code"]) == (500, "internal_error")
    assert str(storage).encode() not in answer.body
    assert answer.headers["x-request-id"] in answer.error["hint"]
    assert answer.headers["x-request-id"] in server.log()
