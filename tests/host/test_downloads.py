"""How bodies of answers reach the wire, through gunicorn's own response writer."""

from __future__ import annotations

import io
import os
import socket
import threading
from pathlib import Path
from typing import Any

import pytest
from gunicorn.config import Config
from gunicorn.http.wsgi import FileWrapper, Response

from modules.errors import IntegrityError
from zfsstore.host.downloads import body_of, read_small

DATA = os.urandom(2_000_000)


class Unreadable(io.FileIO):
    """A file that only the kernel may read."""

    def read(self, *_: Any) -> bytes:  # type: ignore[override]
        raise AssertionError("the body went through the process")

    readinto = readall = read  # type: ignore[assignment]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "object"
    path.write_bytes(DATA)
    return path


@pytest.mark.parametrize(
    ("offset", "length"), [(0, 2_000_000), (1_000_001, 500_000), (1_999_999, 1)]
)
def test_a_plain_file_goes_out_by_sendfile(file: Path, offset: int, length: int) -> None:
    stream = Unreadable(file)
    body = body_of(
        {"wsgi.file_wrapper": FileWrapper},
        stream,
        offset=offset,
        length=length,
        size_bytes=len(DATA),
    )
    assert isinstance(body, FileWrapper)
    assert _sent_by_gunicorn(body, length) == DATA[offset : offset + length]
    body.close()
    assert stream.closed


def test_a_file_of_another_size_is_not_the_object(file: Path) -> None:
    """A module may keep several objects in one file."""
    stream = io.FileIO(file)
    body = body_of({"wsgi.file_wrapper": FileWrapper}, stream, offset=5, length=10, size_bytes=100)
    assert not isinstance(body, FileWrapper)
    assert b"".join(body) == DATA[5:15]


def test_a_short_object_is_an_error_and_not_an_end() -> None:
    body = body_of({}, io.BytesIO(DATA[:100]), offset=0, length=101, size_bytes=101)
    with pytest.raises(IntegrityError):
        list(body)
    with pytest.raises(IntegrityError):
        read_small(io.BytesIO(b"12345"), 2, 4)


def _sent_by_gunicorn(body: FileWrapper, length: int) -> bytes:
    near, far = socket.socketpair()
    received: list[bytes] = []

    def receive() -> None:
        while part := far.recv(65536):
            received.append(part)

    thread = threading.Thread(target=receive)
    thread.start()
    response = Response(_Request(), near, Config())
    response.start_response("200 OK", [("Content-Length", str(length))])
    response.write_file(body)
    near.close()
    thread.join()
    far.close()
    return b"".join(received).partition(b"\r\n\r\n")[2]


class _Request:
    method = "GET"
    version = (1, 1)

    def should_close(self) -> bool:
        return False
