"""A service that refuses, hangs, or is not there: each way its own clear error, with no secret."""

from __future__ import annotations

import re
import socket
import traceback

import pytest

from modules.conformance.payload import Source
from modules.errors import (
    ConfigurationError,
    IntegrityError,
    NoSpace,
    PermissionDenied,
    QuotaExceeded,
    StorageError,
    Unavailable,
)
from tests.s3.proxy import Proxy, refuse
from tests.s3.service import KEYS, MIB, Service
from zfsstore.s3store import S3Storage


def put(store: S3Storage, size: int = 1000) -> str:
    return store.put({}, Source("refusals", size))


def assert_no_secret(error: BaseException) -> None:
    text = "".join(traceback.format_exception(error)) + repr(error) + repr(vars(error))
    assert not re.search("|".join(KEYS.values()), text)


@pytest.mark.parametrize(
    ("status", "code", "error", "says"),
    [
        pytest.param(500, "InternalError", Unavailable, "failed", marks=pytest.mark.slow),
        (503, "SlowDown", Unavailable, "overloaded"),
        pytest.param(503, "ServiceUnavailable", Unavailable, "overloaded", marks=pytest.mark.slow),
        (403, "AccessDenied", PermissionDenied, "does not allow"),
        pytest.param(
            403,
            "InvalidAccessKeyId",
            PermissionDenied,
            "does not accept the credentials",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            403,
            "SignatureDoesNotMatch",
            PermissionDenied,
            "does not accept the credentials",
            marks=pytest.mark.slow,
        ),
        (400, "ExpiredToken", PermissionDenied, "have expired"),
        pytest.param(
            403, "RequestTimeTooSkewed", PermissionDenied, "clocks", marks=pytest.mark.slow
        ),
        (404, "NoSuchBucket", ConfigurationError, "no such bucket"),
        pytest.param(
            400,
            "AuthorizationHeaderMalformed",
            ConfigurationError,
            "another region",
            marks=pytest.mark.slow,
        ),
        (400, "BadDigest", IntegrityError, "not those that were sent"),
        pytest.param(403, "QuotaExceeded", QuotaExceeded, "quota", marks=pytest.mark.slow),
        pytest.param(507, "XMinioStorageFull", NoSpace, "no space", marks=pytest.mark.slow),
    ],
)
def test_each_refusal_is_an_error_of_its_own(
    service: Service,
    proxy: Proxy,
    prefix: str,
    status: int,
    code: str,
    error: type[StorageError],
    says: str,
) -> None:
    args = service.args(endpoint_url=proxy.url, prefix=prefix, max_attempts=1)
    store = S3Storage(**args)
    module_data = put(store)
    proxy.before = refuse(status, code)
    for call in (
        lambda: put(store),
        lambda: put(store, 6 * MIB),
        lambda: store.get_read_stream({}, module_data),
        lambda: store.delete({}, module_data),
        lambda: store.usage({}),
    ):
        with pytest.raises(error, match=says) as caught:
            call()
        assert caught.value.hint
        assert_no_secret(caught.value)
    assert not store.available({}, module_data)
    proxy.reset()
    store.delete({}, module_data)


def test_a_service_that_hangs(service: Service, proxy: Proxy, prefix: str) -> None:
    args = service.args(endpoint_url=proxy.url, prefix=prefix)
    module_data = put(S3Storage(**args))
    store = S3Storage(**{**args, "read_timeout_s": 0.3, "max_attempts": 1})
    proxy.before = proxy.hang
    for call in (lambda: put(store), lambda: store.get_read_stream({}, module_data)):
        with pytest.raises(Unavailable, match="did not answer in time"):
            call()
    assert not store.available({}, module_data)
    proxy.released.set()
    proxy.reset()
    S3Storage(**args).delete({}, module_data)


def test_nobody_listens(service: Service) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
        store = S3Storage(**service.args(endpoint_url=url, max_attempts=1))
        with pytest.raises(Unavailable, match="cannot be reached") as caught:
            put(store)
        assert "endpoint_url" in str(caught.value.hint)
        assert not store.available({}, f"s1.{'0' * 32}.1.{'0' * 32}")
    with socket.create_server(("127.0.0.1", 0)) as plain:
        url = f"https://127.0.0.1:{plain.getsockname()[1]}"
        store = S3Storage(**service.args(endpoint_url=url, max_attempts=1, connect_timeout_s=0.3))
        with pytest.raises(Unavailable):
            put(store)


def test_a_missing_bucket(service: Service) -> None:
    store = S3Storage(**service.args(bucket="no-such-bucket"))
    for call in (
        lambda: put(store),
        lambda: put(store, 6 * MIB),
        lambda: store.get_read_stream({}, f"s1.{'0' * 32}.1.{'0' * 32}"),
    ):
        with pytest.raises(ConfigurationError, match="no such bucket") as caught:
            call()
        assert "bucket" == caught.value.field
    assert not store.available({}, f"s1.{'0' * 32}.1.{'0' * 32}")
