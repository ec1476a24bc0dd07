"""A client cannot tell which server it talks to."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from tests.apache.conftest import run_deployment
from tests.apache.deployment import ALICE, Deployment, Installation

pytestmark = pytest.mark.apache

HEADERS = ("content-type", "content-range", "accept-ranges", "www-authenticate", "allow")


@dataclass(frozen=True)
class Exchange:
    """A request; *user* None is anonymous, "admin" the administrator."""

    method: str
    path: str
    body: bytes | None = None
    headers: dict[str, str] = field(default_factory=dict)
    user: str | None = ALICE


EXCHANGES = [
    Exchange("GET", "/"),
    Exchange("GET", "/cdmi/", user=None),
    Exchange("GET", "/cdmi/"),
    Exchange("GET", "/cdmi/none/"),
    Exchange("PUT", "/cdmi/box/a", b"first"),
    Exchange("PUT", "/cdmi/box/a", b"second"),
    Exchange("PUT", "/cdmi/box/a", b"third", {"If-None-Match": "*"}),
    Exchange("GET", "/cdmi/box/a"),
    Exchange("HEAD", "/cdmi/box/a"),
    Exchange("GET", "/cdmi/box/a", headers={"Range": "bytes=1-2"}),
    Exchange("GET", "/cdmi/box/a", headers={"Range": "bytes=99-"}),
    Exchange("HEAD", "/cdmi/box/missing"),
    Exchange("PUT", "/cdmi/box/empty", b""),
    Exchange("GET", "/cdmi/box/empty"),
    Exchange("PUT", "/cdmi/box/sub/deep", b"no parent"),
    Exchange("PUT", "/cdmi/box/sub/"),
    Exchange("PUT", "/cdmi/box/sub/deep", b"parent"),
    Exchange("DELETE", "/cdmi/box/sub/"),
    Exchange("PUT", "/cdmi/box/a%2Fb", b"escaped slash"),
    Exchange("PUT", "/cdmi/box//b", b"two slashes"),
    Exchange("PUT", "/cdmi/box/x/../b", b"dots"),
    Exchange("PUT", "/cdmi/box/%2e%2e", b"escaped dots"),
    Exchange("PUT", "/cdmi/box/%FF", b"no UTF-8"),
    Exchange("PUT", "/cdmi/box/" + "n" * 1025, b"too long"),
    Exchange("PUT", "/cdmi/root-object", b"not in a container"),
    Exchange("PATCH", "/cdmi/box/a", b"?"),
    Exchange("GET", "/cdmi/box/"),
    Exchange("GET", "/cdmi/box/?limit=zero"),
    Exchange("GET", "/cdmi/system_configuration/vendor_modules/newstore"),
    Exchange("PUT", "/cdmi/system_configuration/vendor_modules/m", b'{"module": ', user="admin"),
    Exchange(
        "PUT",
        "/cdmi/system_configuration/vendor_modules/m",
        b'{"module": "newstore.newstore.NoStorage"}',
        user="admin",
    ),
    Exchange("DELETE", "/cdmi/system_configuration/vendor_modules/newstore", user="admin"),
    Exchange("DELETE", "/cdmi/box/a"),
    Exchange("DELETE", "/cdmi/box/a"),
]


@pytest.fixture(scope="module")
def under_apache(installation: Installation) -> Iterator[Deployment]:
    yield from run_deployment(installation, "apache-egg", "compared")


@pytest.fixture(scope="module")
def under_gunicorn(installation: Installation) -> Iterator[Deployment]:
    yield from run_deployment(installation, "gunicorn-egg", "compared")


def answer(deployment: Deployment, exchange: Exchange) -> tuple[object, ...]:
    user = deployment.administrator() if exchange.user == "admin" else exchange.user
    got = deployment.request(
        exchange.method, exchange.path, user=user, body=exchange.body, headers=exchange.headers
    )
    headers = {name: got.headers[name] for name in HEADERS if name in got.headers}
    return got.status, headers, "etag" in got.headers, mask(deployment, got.body)


def mask(deployment: Deployment, body: bytes) -> bytes:
    """Hide what differs between any two servers: folders, ids and times."""
    body = body.replace(str(deployment.store.parent).encode(), b"FOLDER")
    body = re.sub(rb"\b[0-9a-f]{32}\b", b"ID", body)
    return re.sub(rb"\d{4}-\d\d-\d\dT[\d:.]+Z", b"TIME", body)


def test_answers_are_the_same(under_apache: Deployment, under_gunicorn: Deployment) -> None:
    for exchange in EXCHANGES:
        expected = answer(under_gunicorn, exchange)
        assert expected == answer(under_apache, exchange), exchange
