"""A service, or a network, that fails: each failure its own error; no wrong byte, nothing left."""

from __future__ import annotations

import io
import re
import secrets
import socket
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from modules.conformance.payload import Source, pattern
from modules.errors import (
    ConfigurationError,
    IntegrityError,
    NoSpace,
    ObjectNotFound,
    PermissionDenied,
    QuotaExceeded,
    StorageError,
    Unavailable,
)
from tests.s3.proxy import Exchange, Fault, Proxy, flipped, proxy_to, refuse
from tests.s3.service import KEYS, MIB, Service
from zfsstore.s3store import S3Storage
from zfsstore.s3store.layout import BLOCK_BYTES

SIZES = (1000, BLOCK_BYTES + 1, 6 * MIB)  # one request; one with a table; parts


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
    return f"faults-{secrets.token_hex(4)}"


@pytest.fixture
def left(service: Service, prefix: str) -> Callable[[], list[str]]:
    """Return what lists objects and uploads of this test."""

    def find() -> list[str]:
        return [key for key in service.everything() if key.startswith(f"{prefix}/")]

    return find


@pytest.fixture
def store(service: Service, proxy: Proxy, prefix: str) -> S3Storage:
    return S3Storage(**service.args(endpoint_url=proxy.url, prefix=prefix))


def put(store: S3Storage, size: int = 1000) -> str:
    return store.put({}, Source("faults", size))


def whole(store: S3Storage, module_data: str) -> bytes:
    with store.get_read_stream({}, module_data) as stream:
        return stream.read()


def once(fault: Fault, method: str) -> Fault:
    """Return a fault of the first request with this method."""
    done: list[bool] = []

    def first(exchange: Exchange) -> None:
        if exchange.method == method and not done:
            done.append(True)
            fault(exchange)

    return first


def of(method: str, fault: Fault, *, path: str = "") -> Fault:
    def chosen(exchange: Exchange) -> None:
        if exchange.method == method and path in exchange.path:
            fault(exchange)

    return chosen


@pytest.mark.parametrize("size", SIZES)
def test_a_byte_flipped_on_the_way_in(
    store: S3Storage, proxy: Proxy, left: Callable[[], list[str]], size: int
) -> None:

    def flip(exchange: Exchange) -> None:
        if len(exchange.body) > 500:
            exchange.body = flipped(exchange.body, 400)
            for name in list(exchange.headers):
                if "checksum" in name.lower():  # nor does the service check it
                    del exchange.headers[name]

    proxy.before = of("PUT", flip)
    with pytest.raises(IntegrityError, match="other bytes than were sent"):
        put(store, size)
    assert [] == left()


@pytest.mark.parametrize("size", SIZES)
def test_a_byte_flipped_on_the_way_out(store: S3Storage, proxy: Proxy, size: int) -> None:
    module_data = put(store, size)

    def flip(exchange: Exchange) -> None:
        exchange.answer = flipped(exchange.answer, len(exchange.answer) // 2)

    proxy.after = once(flip, "GET")
    assert pattern("faults", size) == whole(store, module_data), "asked for again"
    proxy.after = of("GET", flip)
    with pytest.raises(IntegrityError):
        whole(store, module_data)
    proxy.reset()
    store.delete({}, module_data)


def test_a_byte_flipped_in_the_bucket(store: S3Storage, service: Service, prefix: str) -> None:
    size = 4 * BLOCK_BYTES + 5
    module_data = put(store, size)
    key = f"{prefix}/o/{module_data.split('.')[1]}"
    stored = service.client.get_object(Bucket=service.bucket, Key=key)["Body"].read()
    assert pattern("faults", size) == stored[:size], "readable without us"
    for place in (0, 2 * BLOCK_BYTES, size - 1, size, len(stored) - 1):
        service.client.put_object(Bucket=service.bucket, Key=key, Body=flipped(stored, place))
        with pytest.raises(IntegrityError):
            whole(store, module_data)
    service.client.put_object(Bucket=service.bucket, Key=key, Body=flipped(stored, 0))
    with store.get_read_stream({}, module_data) as stream:
        stream.seek(BLOCK_BYTES)
        assert pattern("faults", size)[BLOCK_BYTES:] == stream.read(), "the rest is right"
    for wrong in (b"", stored[:-1], stored + b"x", stored[:10]):
        service.client.put_object(Bucket=service.bucket, Key=key, Body=wrong)
        with pytest.raises(IntegrityError):
            whole(store, module_data)
        assert not store.available({}, module_data)
    store.delete({}, module_data)


def test_an_object_replaced_while_it_is_read(
    store: S3Storage, service: Service, prefix: str
) -> None:
    size = 3 * MIB
    first, second = put(store, size), store.put({}, Source("other", size))
    with store.get_read_stream({}, first) as stream:
        assert pattern("faults", 10) == stream.read(10)
        source, key = (f"{prefix}/o/{name.split('.')[1]}" for name in (second, first))
        service.client.copy_object(
            Bucket=service.bucket,
            Key=key,
            CopySource={"Bucket": service.bucket, "Key": source},
        )
        stream.seek(2 * MIB)
        with pytest.raises(IntegrityError):
            stream.read(10)
    for module_data in (first, second):
        store.delete({}, module_data)


@pytest.mark.parametrize("size", SIZES)
def test_connections_cut_while_reading(store: S3Storage, proxy: Proxy, size: int) -> None:
    module_data = put(store, size)

    def cut(exchange: Exchange) -> None:
        exchange.cut_after = len(exchange.answer) // 2

    proxy.after = once(cut, "GET")
    assert pattern("faults", size) == whole(store, module_data)
    proxy.after = of("GET", cut)
    with pytest.raises(Unavailable, match="cut"):
        whole(store, module_data)
    proxy.reset()
    store.delete({}, module_data)


@pytest.mark.parametrize("size", SIZES)
def test_answers_lost_while_writing(
    store: S3Storage, proxy: Proxy, left: Callable[[], list[str]], size: int
) -> None:

    def lose(exchange: Exchange) -> None:
        exchange.cut_after = 0

    for method in ("PUT", "POST"):
        proxy.after = once(lose, method)
        module_data = put(store, size)
        proxy.reset()
        assert pattern("faults", size) == whole(store, module_data)
        store.delete({}, module_data)
    objects = [name for name in left() if "?" not in name]
    assert [] == objects, "of an upload whose beginning was not confirmed, only a sweep knows"


def test_the_answer_to_complete_is_lost(
    store: S3Storage, proxy: Proxy, left: Callable[[], list[str]]
) -> None:
    def lose(exchange: Exchange) -> None:
        if "uploadId" in exchange.path:
            exchange.cut_after = 0

    proxy.after = of("POST", lose)
    module_data = put(store, SIZES[-1])
    proxy.reset()
    assert pattern("faults", SIZES[-1]) == whole(store, module_data)
    store.delete({}, module_data)
    assert [] == left()


@pytest.mark.parametrize(
    ("status", "code", "error", "says"),
    [
        (500, "InternalError", Unavailable, "failed"),
        (503, "SlowDown", Unavailable, "overloaded"),
        (503, "ServiceUnavailable", Unavailable, "overloaded"),
        (403, "AccessDenied", PermissionDenied, "does not allow"),
        (403, "InvalidAccessKeyId", PermissionDenied, "does not accept the credentials"),
        (403, "SignatureDoesNotMatch", PermissionDenied, "does not accept the credentials"),
        (400, "ExpiredToken", PermissionDenied, "have expired"),
        (403, "RequestTimeTooSkewed", PermissionDenied, "clocks"),
        (404, "NoSuchBucket", ConfigurationError, "no such bucket"),
        (400, "AuthorizationHeaderMalformed", ConfigurationError, "another region"),
        (400, "BadDigest", IntegrityError, "not those that were sent"),
        (403, "QuotaExceeded", QuotaExceeded, "quota"),
        (507, "XMinioStorageFull", NoSpace, "no space"),
    ],
)
def test_each_refusal_is_an_error_of_its_own(
    store: S3Storage, proxy: Proxy, status: int, code: str, error: type[StorageError], says: str
) -> None:
    module_data = put(store)
    proxy.before = refuse(status, code)
    for call in (
        lambda: put(store),
        lambda: put(store, SIZES[-1]),
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


def test_what_passes_is_tried_again(store: S3Storage, proxy: Proxy) -> None:
    for status, code in ((500, "InternalError"), (503, "SlowDown")):
        proxy.before = once(refuse(status, code), "PUT")
        module_data = put(store)
        proxy.before = once(refuse(status, code), "GET")
        assert pattern("faults", 1000) == whole(store, module_data)
        proxy.before = once(refuse(status, code), "DELETE")
        store.delete({}, module_data)


def test_a_failed_part_leaves_no_upload(
    store: S3Storage, proxy: Proxy, left: Callable[[], list[str]]
) -> None:
    proxy.before = of("PUT", refuse(500, "InternalError"), path="partNumber=2")
    with pytest.raises(Unavailable):
        put(store, SIZES[-1])
    proxy.reset()
    assert [] == left()


def test_a_service_that_hangs(service: Service, proxy: Proxy, prefix: str) -> None:
    store = S3Storage(
        **service.args(endpoint_url=proxy.url, prefix=prefix, read_timeout_s=0.3, max_attempts=1)
    )
    module_data = put(store)
    proxy.before = proxy.hang
    for call in (lambda: put(store), lambda: store.get_read_stream({}, module_data)):
        with pytest.raises(Unavailable, match="did not answer in time"):
            call()
    assert not store.available({}, module_data)
    proxy.released.set()
    proxy.reset()
    store.delete({}, module_data)


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


def test_a_service_that_knows_no_ranges(store: S3Storage, proxy: Proxy) -> None:
    module_data = put(store, SIZES[1])
    proxy.before = of("GET", lambda exchange: exchange.headers.pop("Range", None) and None)
    with pytest.raises(StorageError, match="range"):
        store.get_read_stream({}, module_data)
    proxy.reset()
    store.delete({}, module_data)


def test_a_missing_bucket(service: Service) -> None:
    store = S3Storage(**service.args(bucket="no-such-bucket"))
    for call in (
        lambda: put(store),
        lambda: put(store, SIZES[-1]),
        lambda: store.get_read_stream({}, f"s1.{'0' * 32}.1.{'0' * 32}"),
    ):
        with pytest.raises(ConfigurationError, match="no such bucket") as caught:
            call()
        assert "bucket" == caught.value.field
    assert not store.available({}, f"s1.{'0' * 32}.1.{'0' * 32}")


def test_a_put_whose_source_fails_leaves_nothing(
    store: S3Storage, left: Callable[[], list[str]]
) -> None:
    for size in SIZES:
        with pytest.raises(ConnectionResetError):
            store.put({}, Source("faults", size, fail_at=size - 1))
    assert [] == left()


def test_ranges_take_few_requests(store: S3Storage, proxy: Proxy) -> None:
    module_data = put(store, 12 * MIB)
    data = pattern("faults", 12 * MIB)
    proxy.requests.clear()
    with store.get_read_stream({}, module_data) as stream:
        stream.seek(7 * MIB)
        assert data[7 * MIB : 7 * MIB + 100] == stream.read(100)
        assert 2 == len(proxy.requests), "the table, one range"
        stream.seek(0)
        assert data == b"".join(iter(lambda: stream.read(100_000), b""))
    assert len(proxy.requests) < 14, "reads ahead"
    store.delete({}, module_data)
    assert not store.available({}, module_data)
    with pytest.raises(ObjectNotFound):
        store.get_read_stream({}, module_data)


def assert_no_secret(error: BaseException) -> None:
    text = "".join(traceback.format_exception(error)) + repr(error) + repr(vars(error))
    assert not re.search("|".join(KEYS.values()), text)


def test_wrong_lengths_of_uploads_are_refused(
    store: S3Storage, left: Callable[[], list[str]]
) -> None:
    context: dict[str, Any] = {"content_length": 10 * 1024**4}
    with pytest.raises(StorageError, match="max_part_size_bytes"):
        store.put(context, io.BytesIO(b"x"))
    assert [] == left()
