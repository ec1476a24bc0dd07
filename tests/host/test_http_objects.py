"""Data objects over plain HTTP, against a real server."""

from __future__ import annotations

import os
import subprocess
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest

from tests.host.serving import Client, Server, path_of

LARGE = os.urandom(3_000_000)


@pytest.mark.parametrize("size", [0, 1, 65_536, 65_537, 3_000_000])
def test_what_is_put_is_got(admin: Client, path: str, size: int) -> None:
    put = admin.put(path, LARGE[:size])
    assert (put.status, put.body) == (201, b"")
    got = admin.get(path)
    assert (got.status, got.body == LARGE[:size]) == (200, True)
    assert got.headers["etag"] == put.headers["etag"]
    assert got.headers["content-length"] == str(size)
    assert got.headers["accept-ranges"] == "bytes"


def test_chunked_upload(admin: Client, path: str) -> None:
    parts = [LARGE[:10], LARGE[10:1_000_000], LARGE[1_000_000:]]
    assert admin.request("PUT", path, iter(parts)).status == 201
    assert admin.get(path).body == LARGE


def test_replacing_answers_204_with_a_new_etag(admin: Client, path: str) -> None:
    first = admin.put(path, b"one")
    second = admin.put(path, b"two")
    assert (first.status, second.status) == (201, 204)
    assert first.headers["etag"] != second.headers["etag"]
    assert admin.get(path).body == b"two"


def test_head_has_the_headers_and_no_body(admin: Client, path: str) -> None:
    admin.put(path, b"12345", Content_Type="text/plain")
    head = admin.request("HEAD", path)
    got = admin.get(path)
    assert (head.status, head.body) == (200, b"")
    for name in ("etag", "last-modified", "content-length", "content-type"):
        assert head.headers[name] == got.headers[name]
    missing = admin.request("HEAD", f"{path}-absent")
    assert (missing.status, missing.body) == (404, b"")


def test_content_type_is_kept(admin: Client, path: str) -> None:
    admin.put(path, b"x", Content_Type="text/html; charset=utf-8")
    assert admin.get(path).headers["content-type"] == "text/html; charset=utf-8"
    admin.put(path, b"x")
    assert admin.get(path).headers["content-type"] == "application/octet-stream"


def test_delete(admin: Client, path: str) -> None:
    admin.put(path, b"x")
    assert [admin.delete(path).status for _ in range(2)] == [204, 404]
    assert admin.get(path).status == 404


@pytest.mark.parametrize("size", [100, 3_000_000])
@pytest.mark.parametrize(
    ("asked", "first", "last"),
    [
        ("0-0", 0, 0),
        ("10-19", 10, 19),
        ("90-", 90, None),
        ("-7", -7, None),
        ("50-9999999", 50, None),
    ],
)
def test_range(
    admin: Client, path: str, size: int, asked: str, first: int, last: int | None
) -> None:
    admin.put(path, LARGE[:size])
    start = first % size
    end = size - 1 if last is None else last
    got = admin.get(path, Range=f"bytes={asked}")
    assert got.status == 206
    assert got.body == LARGE[start : end + 1]
    assert got.headers["content-range"] == f"bytes {start}-{end}/{size}"


def test_range_past_the_end_is_416(admin: Client, path: str) -> None:
    admin.put(path, b"12345")
    got = admin.get(path, Range="bytes=5-")
    assert (got.status, got.headers["content-range"]) == (416, "bytes */5")
    assert got.error["code"] == "range_not_satisfiable"


@pytest.mark.parametrize("asked", ["bytes=0-1,3-4", "lines=1-2", "bytes=4-2", "bytes=", "nonsense"])
def test_a_range_that_is_not_understood_is_ignored(admin: Client, path: str, asked: str) -> None:
    admin.put(path, b"12345")
    got = admin.get(path, Range=asked)
    assert (got.status, got.body) == (200, b"12345")


def test_if_range(admin: Client, path: str) -> None:
    put = admin.put(path, b"12345")
    same = admin.get(path, Range="bytes=1-2", If_Range=put.headers["etag"])
    other = admin.get(path, Range="bytes=1-2", If_Range='"other"')
    assert (same.status, same.body) == (206, b"23")
    assert (other.status, other.body) == (200, b"12345")


def test_conditional_reads(admin: Client, path: str) -> None:
    etag = admin.put(path, b"12345").headers["etag"]
    past = format_datetime(datetime.now(UTC) - timedelta(days=1), usegmt=True)
    future = format_datetime(datetime.now(UTC) + timedelta(days=1), usegmt=True)
    assert admin.get(path, If_Match=etag).status == 200
    assert admin.get(path, If_Match='"other", ' + etag).status == 200
    assert admin.get(path, If_Match='"other"').status == 412
    assert admin.get(path, If_Match=f"W/{etag}").status == 412
    unchanged = admin.get(path, If_None_Match=f"W/{etag}")
    assert (unchanged.status, unchanged.body, unchanged.headers["etag"]) == (304, b"", etag)
    assert admin.get(path, If_None_Match="*").status == 304
    assert admin.get(path, If_None_Match='"other"', If_Modified_Since=future).status == 200
    assert admin.get(path, If_Modified_Since=future).status == 304
    assert admin.get(path, If_Modified_Since=past).status == 200
    assert admin.get(path, If_Modified_Since="yesterday").status == 200
    assert admin.get(path, If_Unmodified_Since=past).status == 412
    assert admin.get(path, If_Unmodified_Since=past, If_Match=etag).status == 200


def test_conditional_writes(admin: Client, path: str) -> None:
    past = format_datetime(datetime.now(UTC) - timedelta(days=1), usegmt=True)
    assert admin.put(path, b"1", If_Match="*").status == 412
    first = admin.put(path, b"1", If_None_Match="*")
    assert first.status == 201
    assert admin.put(path, b"2", If_None_Match="*").status == 412
    assert admin.put(path, b"2", If_Match='"other"').status == 412
    assert admin.put(path, b"2", If_Unmodified_Since=past).status == 412
    assert admin.get(path).body == b"1"
    second = admin.put(path, b"2", If_Match=first.headers["etag"])
    assert second.status == 204
    assert admin.delete(path, If_Match=first.headers["etag"]).status == 412
    assert admin.delete(path, If_Match=second.headers["etag"]).status == 204


@pytest.mark.parametrize(
    "name",
    [
        "with blank", "per%cent", "ünïcödé", "日本語", "a+b&c=d?e#f", "tab\tand\nline", "\\back",
        "'\"`$(x)", "~!@*()", "...", ".hidden", "-", "\u202e", "🎉", "A" * 255,
    ],
)  # fmt: skip
def test_any_name(admin: Client, shared_bucket: str, name: str) -> None:
    folder = f"names {name.encode().hex()[:40]}"
    assert admin.put(path_of(shared_bucket, folder, is_container=True)).status == 201
    path = path_of(shared_bucket, folder, name)
    assert admin.put(path, name.encode()).status == 201
    assert admin.get(path).body == name.encode()
    listed = admin.get(path_of(shared_bucket, folder, is_container=True)).json()["children"]
    assert [child["name"] for child in listed] == [name]
    assert admin.delete(path).status == 204


def test_the_commands_printed_at_the_start_work(server: Server, tmp_path: Path) -> None:
    lines = [line.strip() for line in server.output.splitlines() if line.strip().startswith("curl")]
    assert len(lines) == 2
    for line in lines:
        done = subprocess.run(
            f"{line} --silent --show-error --fail --write-out '%{{http_code}}'",
            shell=True, capture_output=True, text=True, timeout=30, cwd=tmp_path,
        )  # fmt: skip
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.endswith(("201", "204"))
