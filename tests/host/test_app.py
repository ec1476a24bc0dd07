"""The WSGI application called without a server."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from typing import Any

import pytest

from zfsstore.host.app import Host, create_app
from zfsstore.host.catalog import Catalog


@pytest.fixture(scope="module")
def application(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Host, str]]:
    """Return the application and an administrator's Authorization header."""
    data = tmp_path_factory.mktemp("app") / "data"
    host = create_app({"data_dir": str(data)})
    password = (data / "administrator.password").read_text().strip()
    yield host, "Basic " + base64.b64encode(f"administrator:{password}".encode()).decode()
    host.close()


def call(application: tuple[Host, str], method: str, path: str, body: bytes = b"") -> str:
    """Return the status line's number and phrase."""
    host, authorization = application
    statuses: list[str] = []
    environ: dict[str, Any] = {
        "REQUEST_METHOD": method,
        "RAW_URI": path,
        "PATH_INFO": path,
        "SERVER_NAME": "test",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(body),
        "wsgi.errors": io.StringIO(),
        "CONTENT_LENGTH": str(len(body)),
        "HTTP_AUTHORIZATION": authorization,
    }
    b"".join(host(environ, lambda status, headers, info=None: statuses.append(status)))
    return statuses[0]


def test_a_request_asks_for_the_catalogs_revision_once(
    application: tuple[Host, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert call(application, "PUT", "/cdmi/b/") == "201 Created"
    asked: list[str] = []
    revision = Catalog.revision

    def counted(catalog: Catalog) -> int:
        asked.append("revision")
        return revision(catalog)

    monkeypatch.setattr(Catalog, "revision", counted)
    for method, body in (("PUT", b"x" * 4096), ("GET", b""), ("HEAD", b""), ("DELETE", b"")):
        asked.clear()
        assert call(application, method, "/cdmi/b/o", body)[0] == "2"
        assert (method, len(asked)) == (method, 1)
