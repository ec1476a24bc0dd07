"""Keys, tenants, sweeps, credentials, processes: what the conformance suite does not ask."""

from __future__ import annotations

import io
import json
import os
import secrets
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from modules.conformance.payload import Source, pattern
from modules.errors import (
    ConfigurationError,
    InvalidModuleData,
    InvalidName,
    NotSupported,
    ObjectNotFound,
    PermissionDenied,
    StorageError,
)
from modules.loader import load_module
from tests.s3.service import KEYS, MIB, S3, Service
from zfsstore.host.redaction import redact, scrub
from zfsstore.s3store import S3Storage
from zfsstore.s3store import sweep as sweeping
from zfsstore.s3store.layout import BLOCK_BYTES, ModuleData, content_bytes
from zfsstore.s3store.live import LiveObjects
from zfsstore.s3store.writer import MAX_PARTS

NOW = timedelta(0)
ACME = {"tenant": "acme/photos"}


@pytest.fixture
def prefix() -> str:
    return secrets.token_hex(4)


@pytest.fixture
def store(service: Service, prefix: str) -> S3Storage:
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


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"bucket": None}, "bucket"),
        ({"bucket": "a/b"}, "bucket"),
        ({"bucket": 5}, "bucket"),
        ({"prefix": "/a"}, "prefix"),
        ({"prefix": "a/../b"}, "prefix"),
        ({"prefix": "x" * 300}, "prefix"),
        ({"endpoint_url": "ftp://host"}, "endpoint_url"),
        ({"endpoint_url": "http://user:hidden-password@host"}, "endpoint_url"),
        ({"endpoint_url": "http://host:99999"}, "endpoint_url"),
        ({"region": "\n"}, "region"),
        ({"part_size_bytes": MIB}, "part_size_bytes"),
        ({"part_size_bytes": 6.5 * MIB}, "part_size_bytes"),
        ({"max_part_size_bytes": 5 * MIB, "part_size_bytes": 6 * MIB}, "max_part_size_bytes"),
        ({"max_attempts": 0}, "max_attempts"),
        ({"max_attempts": True}, "max_attempts"),
        ({"read_timeout_s": "5"}, "read_timeout_s"),
        ({"checksum": "rot13"}, "checksum"),
        ({"addressing": "x"}, "addressing"),
        ({"ca_file": "ca.pem"}, "ca_file"),
        ({"credentials": {"access_key_id": "only-half-hidden"}}, "credentials"),
        ({"credentials": "hidden-password"}, "credentials"),
        ({"credentials": {"file": "relative"}}, "credentials.file"),
        ({"credentials": {"environment": "lower case"}}, "credentials.environment"),
    ],
)
def test_wrong_arguments(service: Service, changes: dict[str, Any], field: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        S3Storage(**service.args(**changes))
    assert field == caught.value.field
    assert "hidden" not in str(caught.value)
    with pytest.raises(ConfigurationError):
        load_module(S3, service.args(**changes))


def test_credentials_are_shown_nowhere(service: Service) -> None:
    args = service.args()
    store = S3Storage(**args)
    put(store, ACME)
    shown = json.dumps(redact(args)) + repr(store) + repr(store._config) + repr(vars(store))
    for secret in KEYS.values():
        assert secret not in shown
        assert secret not in scrub(f"it says {secret}", args)


def test_credentials_from_a_file_are_read_again(
    service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "credentials"
    store = S3Storage(**service.args(credentials={"file": str(path), "profile": "backup"}))
    with pytest.raises(ConfigurationError, match="No such file"):
        put(store, ACME)
    keys = "".join(f"aws_{name} = {value}\n" for name, value in KEYS.items())
    for content in ("", "[default]\n" + keys, "[backup]\naws_access_key_id = hidden\n", "[[x"):
        path.write_text(content)
        path.chmod(0o600)
        with pytest.raises(ConfigurationError) as caught:
            put(store, ACME)
        assert "hidden" not in str(caught.value)
    path.write_text("[backup]\n" + keys)
    path.chmod(0o644)
    with pytest.raises(PermissionDenied, match="chmod 600"):
        put(store, ACME)
    path.chmod(0o600)
    module_data = put(store, ACME)
    before = store._clients.get()
    assert before is store._clients.get()
    path.write_text("[backup]\n" + keys + "aws_session_token = another\n")
    assert store.available(ACME, module_data)
    assert before is not store._clients.get()


def test_credentials_from_the_environment(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = S3Storage(**service.args(credentials={"environment": "BACKUP"}))
    with pytest.raises(ConfigurationError, match="BACKUP_SECRET_ACCESS_KEY"):
        put(store, ACME)
    for name, value in KEYS.items():
        monkeypatch.setenv(f"BACKUP_{name.upper()}", value)
        monkeypatch.setenv(f"AWS_{name.upper()}", value)
    assert put(store, ACME)
    assert put(S3Storage(**service.args(credentials=None)), ACME), "as boto3 finds them"


def test_no_credentials_at_all(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    with pytest.raises(ConfigurationError, match="no credentials"):
        put(S3Storage(**service.args(credentials=None)), ACME)
    with pytest.raises(ConfigurationError):
        put(S3Storage(**service.args(credentials={"profile": "absent"})), ACME)


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


def test_without_boto3_it_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "boto3.py").write_text("raise ModuleNotFoundError('boto3', name='boto3')")
    code = "from zfsstore.s3store import S3Storage; S3Storage(bucket='objects')"
    path = os.pathsep.join([str(tmp_path), *(entry or os.getcwd() for entry in sys.path)])
    run = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
    )
    assert "pip install 'zfsstore[s3]'" in run.stderr


def test_a_length_that_fits_into_no_number_of_parts(service: Service) -> None:
    store = S3Storage(**service.args(max_part_size_bytes=5 * MIB))
    with pytest.raises(StorageError, match=str(MAX_PARTS)):
        store.put({"content_length": 60 * 1000 * MIB}, io.BytesIO(b""))
