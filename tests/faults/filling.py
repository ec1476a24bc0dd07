"""A tenant that puts until its quota is used up."""

from __future__ import annotations

import os
from collections.abc import Mapping

from tests.host.serving import Server, path_of

MIB = 1024 * 1024


def check_full_tenant(server: Server, store: Mapping[str, str]) -> None:
    """What does not fit is a 507 and leaves nothing; all else can be read, listed and deleted.

    Args:
        store: arguments of a ZFSStorage.
    """
    admin = server.client()
    module = path_of("system_configuration", "vendor_modules", "small")
    args = {**store, "headroom_bytes": 8 * MIB}
    spec = {"module": "zfsstore.ZFSStorage", "args": args}
    assert admin.put_json(module, spec).status == 204
    tenant = path_of("system_configuration", "tenants", "full")
    quota = {"policy": "small", "quota_bytes": 40 * MIB}
    assert admin.put_json(tenant, quota).status == 204
    user = path_of("system_configuration", "users", "full")
    client = server.client("full", admin.put_json(user, {}).json()["password"])
    assert client.put(path_of("b", is_container=True)).status == 201
    stored = []
    for number in range(60):
        answer = client.put(path_of("b", f"o{number}"), os.urandom(MIB))
        if answer.status != 201:
            break
        stored.append(number)
    assert (answer.status, answer.error["code"]) == (507, "quota_exceeded")
    assert 4 <= len(stored) <= 40
    assert client.get(path_of("b", f"o{len(stored)}")).status == 404
    assert len(client.get(path_of("b", is_container=True)).json()["children"]) == len(stored)
    for number in stored:
        assert client.delete(path_of("b", f"o{number}")).status == 204
    assert client.put(path_of("b", "again"), b"x" * 1024).status == 201
