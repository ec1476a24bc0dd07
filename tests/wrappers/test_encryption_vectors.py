"""Format E1 is what tests/wrappers/vectors/e1.json says; an independent decoder agrees."""

from __future__ import annotations

import hashlib
import io
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from modules.wrappers.encryption import format as e1
from modules.wrappers.encryption.writer import EncryptingStream
from modules.wrappers.keys.local import LocalRootKeys, root_id
from modules.wrappers.keys.records import KeyRecord, KeyState
from tests.wrappers.decoder import decode, root_unwrap
from tests.wrappers.encrypted import SEGMENT, Vault

VECTORS = json.loads(Path(__file__).with_name("vectors").joinpath("e1.json").read_text())


def plaintext(size: int) -> bytes:
    """Return what the vectors hold: SHA-256 of 0, 1, 2, ... as decimal text, cut to size."""
    blocks = (hashlib.sha256(str(number).encode()).digest() for number in range(size // 32 + 1))
    return b"".join(blocks)[:size]


def encode(vector: dict[str, Any]) -> bytes:
    """Return the encrypted object with the product's code and the vector's random choices."""
    suite, salt = vector["suite"], bytes.fromhex(vector["salt"])
    key_id, tenant_key = bytes.fromhex(vector["key_id"]), bytes.fromhex(vector["tenant_key"])
    object_key = bytes.fromhex(vector["object_key"])
    ctx = e1.context_of(vector["key_domain"], vector["uid"], suite)
    wrapped = e1.wrap_key(tenant_key, object_key, e1.wrap_aad(suite, key_id, salt), ctx)
    body = e1.body_of(object_key, salt, ctx, suite)
    header = e1.Header(suite, key_id, salt, wrapped, body.commitment)
    source = EncryptingStream(io.BytesIO(plaintext(vector["length"])), header.to_bytes(), body)
    return b"".join(iter(source.read, b""))


@pytest.mark.parametrize("vector", VECTORS["objects"], ids=lambda v: v["name"])
def test_objects_are_what_the_vectors_say(vector: dict[str, Any]) -> None:
    data = encode(vector)
    assert vector["size"] == len(data) == e1.sealed_size(vector["length"])
    assert vector["header"] == data[:132].hex()
    assert vector["sha256"] == hashlib.sha256(data).hexdigest()
    if "data" in vector:
        assert vector["data"] == data.hex()
    keys = {bytes.fromhex(vector["key_id"]): bytes.fromhex(vector["tenant_key"])}
    decoded = decode(data, vector["module_data"], vector["key_domain"].encode(), keys)
    assert plaintext(vector["length"]) == decoded


def test_rewrap_is_what_the_vector_says() -> None:
    vector = VECTORS["rewrap"]
    original = next(v for v in VECTORS["objects"] if v["name"] == vector["of"])
    parsed = e1.parse_module_data(vector["module_data"])
    assert parsed.rewrap is not None
    assert vector["module_data"] == str(parsed)
    aad = e1.wrap_aad(original["suite"], parsed.rewrap.key_id, parsed.rewrap.salt)
    ctx = e1.context_of(original["key_domain"], original["uid"], original["suite"])
    tenant_key = bytes.fromhex(vector["tenant_key"])
    found = e1.unwrap_key(tenant_key, parsed.rewrap.wrapped, aad, ctx, subject="x")
    assert original["object_key"] == found.hex()
    keys = {bytes.fromhex(vector["key_id"]): tenant_key}
    domain = original["key_domain"].encode()
    decoded = decode(encode(original), vector["module_data"], domain, keys)
    assert plaintext(original["length"]) == decoded


def test_rows_of_the_key_table_are_what_the_vector_says() -> None:
    vector = VECTORS["row"]
    root_key = bytes.fromhex(vector["root_key"])
    assert vector["root"] == root_id(root_key)
    record = KeyRecord(
        id=bytes.fromhex(vector["id"]),
        key_domain=vector["key_domain"],
        version=vector["version"],
        state=KeyState.ACTIVE,
        root=vector["root"],
        wrapped=bytes.fromhex(vector["wrapped"]),
        created_at=datetime.now(UTC),
    )
    roots = LocalRootKeys("test", lambda: f"1:{root_key.hex()}")
    found = roots.unwrap(record.root, record.wrapped, record.binding)
    assert vector["tenant_key"] == found.hex()
    domain = vector["key_domain"].encode()
    again = root_unwrap(root_key, record.id, domain, record.version, record.wrapped)
    assert vector["tenant_key"] == again.hex()


@pytest.mark.parametrize("suite", ["AES-256-GCM", "ChaCha20-Poly1305"])
def test_independent_decoder_reads_what_a_store_holds(tmp_path: Path, suite: str) -> None:
    vault = Vault(tmp_path, suite=suite)
    root_key = bytes.fromhex((tmp_path / "root.key").read_text().rpartition(":")[2].strip())
    for size in (0, 1, SEGMENT - 1, SEGMENT, SEGMENT + 1, 40 * SEGMENT):
        made = vault.put(plaintext(size))
        (row,) = vault.module.keys.list_keys()
        key = root_unwrap(root_key, row.id, b"default", row.version, row.wrapped)
        data = vault.file(made).read_bytes()
        assert plaintext(size) == decode(data, made, b"default", {row.id: key})
