"""Arguments and credentials: wrong ones are refused, none is shown."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from botocore import exceptions as boto

from modules.conformance.payload import Source
from modules.errors import ConfigurationError, PermissionDenied
from modules.loader import load_module
from tests.s3.service import KEYS, MIB, S3, Service
from zfsstore.host.redaction import redact, scrub
from zfsstore.s3store import S3Storage
from zfsstore.s3store.failures import storage_error

ACME = {"tenant": "acme/photos"}


def put(store: S3Storage, context: dict[str, Any], size: int = 10) -> str:
    return store.put(context, Source("storage", size))


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
    shown = (
        json.dumps(redact(args))
        + repr(store)
        + repr(store._clients._current())
        + repr(store._config)
        + repr(vars(store))
    )
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


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (boto.NoCredentialsError(), "no credentials"),
        (boto.UnauthorizedSSOTokenError(), "could not get or renew"),
        (boto.CredentialRetrievalError(provider="x", error_msg="hidden"), "could not get or renew"),
    ],
)
def test_credentials_that_boto3_cannot_get(error: Exception, says: str) -> None:
    found = storage_error(error, operation="put object into", subject="acme")
    assert says in str(found)
    assert found.hint
    assert "hidden" not in str(found)


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
