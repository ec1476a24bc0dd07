"""A network, or a bucket, that cuts and alters: no wrong byte, and nothing left behind."""

from __future__ import annotations

import io
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from modules.conformance.payload import Source, pattern
from modules.errors import (
    IntegrityError,
    ObjectNotFound,
    StorageError,
    SubstrateError,
    Unavailable,
)
from tests.s3.proxy import Exchange, Proxy, flipped, of, once, refuse
from tests.s3.service import MIB, Service
from zfsstore.s3store import S3Storage
from zfsstore.s3store.layout import BLOCK_BYTES

SIZES = (1000, BLOCK_BYTES + 1, 6 * MIB)  # one request; one with a table; parts
SOME_SIZES = (*SIZES[:2], pytest.param(SIZES[2], marks=pytest.mark.slow))


def put(store: S3Storage, size: int = 1000) -> str:
    return store.put({}, Source("faults", size))


def whole(store: S3Storage, module_data: str) -> bytes:
    with store.get_read_stream({}, module_data) as stream:
        return stream.read()


@pytest.mark.parametrize("size", SOME_SIZES)
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


@pytest.mark.parametrize("size", SOME_SIZES)
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


@pytest.mark.parametrize("size", SOME_SIZES)
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


@pytest.mark.parametrize("size", SOME_SIZES)
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


def test_an_upload_that_ends_while_a_sweep_looks_is_no_failure(
    store: S3Storage, service: Service, proxy: Proxy, prefix: str
) -> None:
    target = {"Bucket": service.bucket, "Key": f"{prefix}/o/{'a' * 32}"}
    upload = service.client.create_multipart_upload(**target)["UploadId"]
    for method in ("GET", "DELETE"):  # its parts are listed, it is aborted
        proxy.before = of(method, refuse(404, "NoSuchUpload"), path="uploadId")
        report = store.sweep({}, [], older_than=timedelta(0), dry_run=False)
        assert () == report.unreferenced
    proxy.reset()
    report = store.sweep({}, [], older_than=timedelta(0), dry_run=False)
    assert (f"upload/{'a' * 32}/{upload}",) == report.unreferenced


def test_a_listing_in_no_order_is_refused(store: S3Storage, proxy: Proxy) -> None:
    live = [put(store) for _ in range(2)]

    def swap(exchange: Exchange) -> None:
        first, second = sorted(name.split(".")[1].encode() for name in live)
        text = exchange.answer.replace(first, b"\0").replace(second, first)
        exchange.answer = text.replace(b"\0", second)

    proxy.after = of("GET", swap, path="list-type=2")
    with pytest.raises(SubstrateError, match="order"):
        store.sweep({}, live, older_than=timedelta(0), dry_run=False)
    proxy.reset()
    assert all(store.available({}, module_data) for module_data in live)


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


def test_a_service_that_knows_no_ranges(store: S3Storage, proxy: Proxy) -> None:
    module_data = put(store, SIZES[1])
    proxy.before = of("GET", lambda exchange: exchange.headers.pop("Range", None) and None)
    with pytest.raises(StorageError, match="range"):
        store.get_read_stream({}, module_data)
    proxy.reset()
    store.delete({}, module_data)


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


def test_wrong_lengths_of_uploads_are_refused(
    store: S3Storage, left: Callable[[], list[str]]
) -> None:
    context: dict[str, Any] = {"content_length": 10 * 1024**4}
    with pytest.raises(StorageError, match="max_part_size_bytes"):
        store.put(context, io.BytesIO(b"x"))
    assert [] == left()
