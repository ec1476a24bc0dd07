"""Root keys in services: AWS KMS (moto) and Vault's transit engine (a real small server)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError
from moto import mock_aws

from modules.errors import (
    ConfigurationError,
    KeyNotFound,
    PermissionDenied,
    StorageError,
    Unavailable,
    WrongKey,
)
from modules.wrappers.keys import KeyRing, open_key_ring
from modules.wrappers.keys.aws import KmsRootKeys
from tests.wrappers.encrypted import Vault
from tests.wrappers.transit import Transit, transit_server

REGION = "eu-central-1"


@pytest.fixture
def kms(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing-secret")
    with mock_aws():
        yield boto3.client("kms", region_name=REGION)


@pytest.fixture
def transit(tmp_path: Path) -> Iterator[Transit]:
    with transit_server() as server:
        token = tmp_path / "token"
        token.write_text(server.token + "\n")
        token.chmod(0o600)
        yield server


def kms_keys(tmp_path: Path, key_id: str) -> dict[str, Any]:
    root = {"provider": "aws-kms", "key_id": key_id, "region": REGION}
    return {"table": str(tmp_path / "keys.db"), "root": root, "create": True}


def vault_keys(tmp_path: Path, transit: Transit, **changes: Any) -> dict[str, Any]:
    root = {
        "provider": "vault-transit",
        "address": transit.address,
        "name": "zfsstore",
        "token_file": str(tmp_path / "token"),
        "timeout_s": 10,
    }
    return {"table": str(tmp_path / "keys.db"), "root": root | changes, "create": True}


def exchange_rows(ring: KeyRing) -> None:
    """Put the wrapped key of one domain into the row of the other."""
    rows = {record.key_domain: record for record in ring.list_keys()}
    ring.table.rewrap(rows["a"], rows["a"].root, rows["b"].wrapped)


def test_kms_wraps_and_unwraps(kms: Any, tmp_path: Path) -> None:
    key_id = kms.create_key()["KeyMetadata"]["KeyId"]
    ring = open_key_ring(kms_keys(tmp_path, key_id))
    keys = {name: ring.active(name) for name in ("a", "b")}
    again = open_key_ring(kms_keys(tmp_path, key_id))
    assert keys == {name: again.find(keys[name].id, name) for name in keys}
    assert {f"kms:{key_id}"} == {record.root for record in ring.list_keys()}

    newer = kms.create_key()["KeyMetadata"]["KeyId"]
    moved = open_key_ring(kms_keys(tmp_path, newer))
    assert moved.rotate_root() == 2
    kms.disable_key(KeyId=key_id)
    last = open_key_ring(kms_keys(tmp_path, newer))
    assert keys == {name: last.active(name) for name in keys}

    exchange_rows(last)
    last.forget()
    with pytest.raises(WrongKey):
        last.active("a")


def test_an_unknown_kms_key(kms: Any, tmp_path: Path) -> None:
    ring = open_key_ring(kms_keys(tmp_path, "00000000-0000-0000-0000-000000000000"))
    with pytest.raises(KeyNotFound, match="no usable root key"):
        ring.active("acme")


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("AccessDeniedException", PermissionDenied),
        ("ExpiredTokenException", PermissionDenied),
        ("ThrottlingException", Unavailable),
        ("InvalidCiphertextException", WrongKey),
        ("DisabledException", KeyNotFound),
    ],
)
def test_what_kms_answers_is_told_apart(code: str, expected: type[StorageError]) -> None:
    class Refusing:
        def encrypt(self, **arguments: Any) -> None:
            raise ClientError({"Error": {"Code": code, "Message": "..."}}, "Encrypt")

        def decrypt(self, **arguments: Any) -> None:
            raise EndpointConnectionError(endpoint_url="https://kms.example.com")

    roots = KmsRootKeys("k", Refusing())
    with pytest.raises(expected):
        roots.wrap(bytes(32), b"binding")
    with pytest.raises(Unavailable, match="check network, region and credentials"):
        roots.unwrap("kms:k", b"x", b"binding")
    with pytest.raises(KeyNotFound):
        roots.unwrap("local:00", b"x", b"binding")


def test_vault_wraps_unwraps_and_rotates(transit: Transit, tmp_path: Path) -> None:
    keys = vault_keys(tmp_path, transit)
    vault = Vault(tmp_path)
    ring = open_key_ring(keys)
    made = {name: ring.active(name) for name in ("a", "b")}
    assert {"vault:transit/zfsstore:v1"} == {record.root for record in ring.list_keys()}
    transit.rotate()
    assert ring.rotate_root() == 2
    transit.oldest = 2
    again = open_key_ring(keys)
    assert made == {name: again.find(made[name].id, name) for name in made}
    assert {"vault:transit/zfsstore:v2"} == {record.root for record in again.list_keys()}
    assert ring.rotate_root() == 0
    vault.keys = keys
    vault.reopen()
    assert b"x" == vault.get(vault.put(b"x"))
    exchange_rows(again)
    again.forget()
    with pytest.raises(WrongKey, match="the key table was altered"):
        again.active("a")


def test_what_vault_answers_is_told_apart(
    transit: Transit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ring = open_key_ring(vault_keys(tmp_path, transit))
    ring.active("acme")
    shown = []
    for status, expected in ((403, PermissionDenied), (500, Unavailable), (429, Unavailable)):
        transit.status = status
        ring.forget()
        with pytest.raises(expected) as caught:
            ring.active("acme")
        shown.append(str(caught.value))
    transit.status = 0
    transit.rotate()
    transit.oldest = 2
    with pytest.raises(WrongKey, match="min_decryption_version"):
        ring.active("acme")
    with pytest.raises(KeyNotFound):
        open_key_ring(vault_keys(tmp_path, transit, name="absent")).active("new")
    (tmp_path / "token").write_text("hvs.wrong-token")
    with pytest.raises(PermissionDenied, match="renew the token"):
        open_key_ring(vault_keys(tmp_path, transit)).active("new")
    (tmp_path / "token").chmod(0o644)
    with pytest.raises(PermissionDenied, match="chmod 0600"):
        open_key_ring(vault_keys(tmp_path, transit)).active("new")
    monkeypatch.setenv("VAULT_TOKEN", transit.token)
    keys = vault_keys(tmp_path, transit)
    del keys["root"]["token_file"]
    assert open_key_ring(keys).active("new")
    assert transit.token not in " ".join(shown)


def test_an_unreachable_vault(transit: Transit, tmp_path: Path) -> None:
    ring = open_key_ring(vault_keys(tmp_path, transit, address="http://127.0.0.1:1"))
    with pytest.raises(Unavailable, match=r"127\.0\.0\.1 does not answer"):
        ring.active("acme")
    with pytest.raises(ConfigurationError, match="without credentials"):
        open_key_ring(vault_keys(tmp_path, transit, address="http://u:pw@host"))
    with pytest.raises(ConfigurationError, match="cannot use it"):
        open_key_ring(
            vault_keys(tmp_path, transit, address="https://h", ca_file=str(tmp_path / "absent"))
        )
