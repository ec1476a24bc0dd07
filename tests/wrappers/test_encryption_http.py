"""An encrypted tenant through HTTP, served by two workers, until its keys are destroyed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from modules.conformance.payload import pattern
from modules.wrappers.keys import open_key_ring
from tests.host.serving import Client, Server, path_of
from tests.wrappers.encrypted import ENCRYPTED, SEGMENT, keys_at

PASSWORD = "long enough"
MODULE = path_of("system_configuration", "vendor_modules", "vault")


@pytest.fixture
def keys(tmp_path: Path) -> dict[str, Any]:
    return keys_at(tmp_path)


@pytest.fixture
def server(tmp_path: Path, keys: dict[str, Any]) -> Iterator[Server]:
    running = Server(tmp_path / "data")
    running.start()
    try:
        admin = running.client()
        module = {"module": ENCRYPTED, "args": {"inner": "default", "keys": keys}}
        assert admin.put_json(MODULE, module).status == 204
        user = {"policy": "vault", "password": PASSWORD}
        users = path_of("system_configuration", "users", "acme")
        assert admin.put_json(users, user).status == 204
        assert acme(running).put(path_of("b", is_container=True)).status == 201
        yield running
    finally:
        running.stop()


def acme(server: Server) -> Client:
    return server.client("acme", PASSWORD)


@pytest.mark.slow
def test_an_encrypted_tenant(server: Server, keys: dict[str, Any], tmp_path: Path) -> None:
    plain = pattern("http", 3 * SEGMENT + 17)
    assert acme(server).put(path_of("b", "o"), plain).status == 201
    clients = [acme(server) for _ in range(8)]  # a connection each: both workers answer
    for client in clients:
        assert plain == client.get(path_of("b", "o")).body
        part = client.get(path_of("b", "o"), Range=f"bytes={SEGMENT - 5}-{SEGMENT + 4}")
        assert (206, plain[SEGMENT - 5 : SEGMENT + 5]) == (part.status, part.body)
    stored = [path.read_bytes() for path in (tmp_path / "data").rglob("*") if path.is_file()]
    assert not any(plain[:64] in content for content in stored)

    shown = server.client().get(MODULE)
    assert "(redacted)" == shown.json()["args"]["keys"]
    assert keys["table"] not in shown.body.decode()

    ring = open_key_ring(keys)
    (domain,) = {
        record.key_domain for record in ring.list_keys() if record.key_domain in domains(tmp_path)
    }
    ring.shred(domain)
    server.stop()
    server.start()  # rather than wait until the workers forget the key
    gone = acme(server).get(path_of("b", "o"))
    assert (410, "key_destroyed") == (gone.status, gone.error["code"])
    refused = acme(server).put(path_of("b", "new"), b"x")
    assert (410, "key_destroyed") == (refused.status, refused.error["code"])
    assert 204 == acme(server).delete(path_of("b", "o")).status
    root = (tmp_path / "root.key").read_text().rpartition(":")[2].strip()
    assert root not in server.log()
    assert root not in json.dumps(shown.json())


def domains(directory: Path) -> set[str]:
    """Return the key domains of the buckets."""
    found = directory.glob("data/**/acme/b/.zfsstore/volume.json")
    return {json.loads(path.read_text())["key_domain"] for path in found}
