"""A tenant whose objects are in an S3 service, through HTTP, served by two workers."""

from __future__ import annotations

from pathlib import Path

import pytest

from modules.conformance.payload import pattern
from tests.host.serving import Server, path_of
from tests.s3.service import KEYS, MIB, S3, Service

PASSWORD = "long enough"
MODULE = path_of("system_configuration", "vendor_modules", "remote")


@pytest.mark.slow
def test_a_tenant_in_an_s3_service(service: Service, tmp_path: Path) -> None:
    size = 6 * MIB
    server = Server(tmp_path / "data")
    server.start()
    try:
        admin = server.client()
        args = service.args(prefix="http")
        assert 204 == admin.put_json(MODULE, {"module": S3, "args": args}).status
        user = {"policy": "remote", "password": PASSWORD}
        users = path_of("system_configuration", "users", "acme")
        assert 204 == admin.put_json(users, user).status
        acme = server.client("acme", PASSWORD)
        assert 201 == acme.put(path_of("photos", is_container=True)).status
        assert 201 == acme.put(path_of("photos", "large"), pattern("http", size)).status
        assert 201 == acme.put(path_of("photos", "small"), b"small").status
        for client in [server.client("acme", PASSWORD) for _ in range(4)]:
            assert b"small" == client.get(path_of("photos", "small")).body
            part = client.get(path_of("photos", "large"), Range=f"bytes={5 * MIB}-{5 * MIB + 9}")
            assert (206, pattern("http", size)[5 * MIB :][:10]) == (part.status, part.body)
        assert pattern("http", size) == acme.get(path_of("photos", "large")).body
        keys = [key for key in service.everything() if key.startswith("http/")]
        assert 2 == len(keys)
        assert all("/acme/" in key for key in keys)

        shown = admin.get(MODULE)
        assert "(redacted)" == shown.json()["args"]["credentials"]
        for name in ("large", "small"):
            assert 204 == acme.delete(path_of("photos", name)).status
        assert not [key for key in service.everything() if key.startswith("http/")]
        wrong = {"module": S3, "args": {**args, "bucket": "a/b"}}
        refused = admin.put_json(MODULE, wrong)
        assert 400 == refused.status
        for secret in KEYS.values():
            assert secret not in shown.body.decode() + refused.body.decode() + server.log()
    finally:
        server.stop()
