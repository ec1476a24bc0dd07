"""One service for all tests of a process, with a bucket for each file; a proxy before it."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator

import pytest

from tests.s3.proxy import Proxy, proxy_to
from tests.s3.service import Service, moto_service
from zfsstore.s3store import S3Storage


@pytest.fixture(scope="module")
def service() -> Service:
    return moto_service(f"tests-{secrets.token_hex(4)}")


@pytest.fixture(scope="module")
def shared_proxy(service: Service) -> Iterator[Proxy]:
    with proxy_to(service.endpoint_url) as running:
        yield running


@pytest.fixture
def proxy(shared_proxy: Proxy) -> Proxy:
    shared_proxy.reset()
    return shared_proxy


@pytest.fixture
def prefix() -> str:
    return secrets.token_hex(4)


@pytest.fixture
def left(service: Service, prefix: str) -> Callable[[], list[str]]:
    """Return what lists objects and uploads of this test."""

    def find() -> list[str]:
        return [key for key in service.everything() if key.startswith(f"{prefix}/")]

    return find


@pytest.fixture
def store(service: Service, proxy: Proxy, prefix: str) -> S3Storage:
    return S3Storage(**service.args(endpoint_url=proxy.url, prefix=prefix))
