"""Keys, tenants, sweeps, processes: what the conformance suite does not ask."""

from __future__ import annotations

import io
import os
import secrets
from datetime import timedelta
from typing import Any

import pytest

from modules.conformance.payload import Source, pattern
from modules.errors import (
    InvalidModuleData,
    InvalidName,
    NotSupported,
    ObjectNotFound,
    StorageError,
)
from tests.s3.service import MIB, Service
from zfsstore.s3store import S3Storage
from zfsstore.s3store import sweep as sweeping
from zfsstore.s3store.layout import BLOCK_BYTES, ModuleData, content_bytes
from zfsstore.s3store.live import LiveObjects
from zfsstore.s3store.writer import MAX_PARTS

NOW = timedelta(0)
ACME = {"tenant": "acme/photos"}


@pytest.fixture
def store(service: Service, prefix: str) -> S3Storage:
    """Return one that talks to the service directly."""
    return S3Storage(**service.args(prefix=prefix))


def put(store: S3Storage, context: dict[str, Any], size: int = 10) -> str:
    return store.put(context, Source("storage", size))


def keys_below(service: Service, prefix: str) -> list[str]:
    return sorted(key for key in service.everything() if key.startswith(f"{prefix}/"))


def test_tenants_and_buckets_are_in_the_key(
    store: S3Storage, service: Service, prefix: str
) -> None:
    contexts: list[dict[str, Any]] = [
        *({}, {"tenant": "acme"}, ACME, {"tenant": "b"}, {"tenant": "o"}, {"tenant": "t/b"}),
        {"tenant": "Grüße/.."},
    ]
    objects = [put(store, context) for context in contexts]
    ids = [module_data.split(".")[1] for module_data in objects]
    places = ["o/", "t/acme/o/", "t/acme/b/photos/o/", "t/b/o/", "t/o/o/", "t/t/b/b/o/"]
    expected = [f"{prefix}/{place}{name}" for place, name in zip(places, ids, strict=False)]
    found = keys_below(service, prefix)
    assert set(expected) <= set(found)
    assert 7 == len(found)
    for mine, module_data in enumerate(objects):
        for number, context in enumerate(contexts):
            assert (mine == number) == store.available(context, module_data)
        assert prefix not in module_data
        assert service.bucket not in module_data
    with pytest.raises(InvalidName):
        put(store, {"tenant": "a/b/c"})
    with pytest.raises(NotSupported):
        store.get_read_stream({**ACME, "snapshot": "daily"}, objects[2])
    with pytest.raises(StorageError):
        put(store, {**ACME, "snapshot": "daily"})


def test_usage_counts_one_volume(store: S3Storage) -> None:
    for context in (ACME, ACME, {"tenant": "acme"}):
        put(store, context, 100)
    usage = store.usage(ACME)
    assert (2, 200) == (usage.objects, usage.bytes)
    assert not store.statistics(ACME)["is_capacity_known"]


def test_a_sweep_sees_only_what_is_ours(store: S3Storage, service: Service, prefix: str) -> None:
    live, lost, large = put(store, ACME), put(store, ACME), put(store, ACME, 2 * BLOCK_BYTES)
    other = put(store, {"tenant": "acme"})
    foreign = [f"{prefix}/t/acme/b/photos/o/README", f"{prefix}/t/acme/b/photos/o/{'0' * 31}"]
    for key in foreign:
        service.client.put_object(Bucket=service.bucket, Key=key, Body=b"not ours")
    gone = f"s1.{'f' * 32}.5.{'0' * 32}"
    report = store.sweep(ACME, [live, gone], older_than=NOW)
    assert (lost, large) == tuple(sorted(report.unreferenced, key=[lost, large].index))
    assert (gone,) == report.missing
    assert 3 == report.scanned
    assert () == store.sweep(ACME, [live], older_than=timedelta(hours=1)).unreferenced

    store.sweep(ACME, [live], older_than=NOW, dry_run=False)
    for module_data in (lost, large):
        with pytest.raises(ObjectNotFound):
            store.get_read_stream(ACME, module_data)
    assert store.available(ACME, live)
    assert store.available({"tenant": "acme"}, other)
    after = keys_below(service, prefix)
    assert set(foreign) <= set(after)
    aside = [key for key in after if key.startswith(f"{prefix}/q/")]
    assert 2 == len(aside)
    for key in aside:  # and back again
        target = f"{prefix}/{key.split('/', 3)[3]}"
        source = {"Bucket": service.bucket, "Key": key}
        service.client.copy_object(Bucket=service.bucket, Key=target, CopySource=source)
    with store.get_read_stream(ACME, large) as stream:
        assert pattern("storage", 2 * BLOCK_BYTES) == stream.read()


def test_a_sweep_aborts_what_a_killed_process_left(
    store: S3Storage, service: Service, prefix: str
) -> None:
    target = {"Bucket": service.bucket, "Key": f"{prefix}/t/acme/b/photos/o/{'a' * 32}"}
    upload = service.client.create_multipart_upload(**target)["UploadId"]
    service.client.upload_part(**target, UploadId=upload, PartNumber=1, Body=bytes(5 * MIB))
    foreign = {**target, "Key": f"{prefix}/t/acme/b/photos/o/other"}
    service.client.create_multipart_upload(**foreign)
    young = store.sweep(ACME, [], older_than=timedelta(hours=1), dry_run=False)
    assert ((), 1) == (young.unreferenced, young.too_young)
    report = store.sweep(ACME, [], older_than=NOW, dry_run=False)
    assert (f"upload/{'a' * 32}/{upload}",) == report.unreferenced
    assert 5 * MIB == report.unreferenced_bytes
    left = keys_below(service, prefix)
    assert [foreign["Key"]] == [key.partition("?")[0] for key in left]


def test_large_objects_are_moved_aside_in_parts(
    store: S3Storage, service: Service, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweeping, "COPY_PART_BYTES", 5 * MIB)
    module_data = put(store, ACME, 7 * MIB)
    store.sweep(ACME, [], older_than=NOW, dry_run=False)
    (key,) = keys_below(service, prefix)
    assert key.endswith(f"/t/acme/b/photos/o/{module_data.split('.')[1]}")
    stored = service.client.get_object(Bucket=service.bucket, Key=key)["Body"].read()
    assert pattern("storage", 7 * MIB) == stored[: 7 * MIB]


def test_the_live_set_may_be_large() -> None:
    objects = [ModuleData(secrets.token_hex(16), n, secrets.token_bytes(16)) for n in range(3000)]
    with LiveObjects(spill_bytes=64) as live:
        for data in objects:
            live.add(data)
        found = [data for n in range(256) for data in live.of_leaf(f"{n:02x}").values()]
    assert set(objects) == set(found)


def test_the_size_of_what_is_stored_tells_that_of_the_content() -> None:
    for blocks in (1, 2, 3, 100, 16384, 16385, 100_000):
        for size in (blocks * BLOCK_BYTES + change for change in (-1, 0, 1)):
            assert size == content_bytes(ModuleData("", size, b"").stored_bytes)


@pytest.mark.parametrize(
    "text",
    [
        *("s1.", f"s1.{'0' * 32}.01.{'0' * 32}", f"s1.{'0' * 32}.-1.{'0' * 32}"),
        *(f"s1.{'0' * 32}.1.{'0' * 32}\n", f"s1.{'A' * 32}.1.{'0' * 32}"),
        *(f"s2.{'0' * 32}.1.{'0' * 32}", f"s1.{'0' * 32}.٣.{'0' * 32}"),
    ],
)
def test_forged_module_data(store: S3Storage, text: str) -> None:
    assert not store.available({}, text)
    for call in (store.get_read_stream, store.delete):
        with pytest.raises(InvalidModuleData):
            call({}, text)
    with pytest.raises(InvalidModuleData):
        store.sweep({}, [text], older_than=NOW)


def test_a_forked_process_has_its_own_client(store: S3Storage) -> None:
    module_data = put(store, ACME, 1000)
    mine = store._clients.get()
    pid = os.fork()
    if pid == 0:
        with store.get_read_stream(ACME, module_data) as stream:
            is_right = stream.read() == pattern("storage", 1000)
        os._exit(0 if is_right and store._clients.get() is not mine else 1)
    assert 0 == os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert mine is store._clients.get()
    assert store.available(ACME, module_data)


def test_a_length_that_fits_into_no_number_of_parts(service: Service) -> None:
    store = S3Storage(**service.args(max_part_size_bytes=5 * MIB))
    with pytest.raises(StorageError, match=str(MAX_PARTS)):
        store.put({"content_length": 60 * 1000 * MIB}, io.BytesIO(b""))
