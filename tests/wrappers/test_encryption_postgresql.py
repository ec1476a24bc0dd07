"""The key table in PostgreSQL, for hosts that share objects."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from modules.errors import AlreadyExists, ConfigurationError, KeyDestroyed, Unavailable
from modules.wrappers.keys import open_key_ring
from modules.wrappers.keys.records import KeyState
from modules.wrappers.keys.table import KeyTable
from tests.host.postgresql import create_database, find_binaries, running_server
from tests.wrappers.encrypted import Vault, keys_at

pytestmark = pytest.mark.postgres


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    binaries = find_binaries()
    if binaries is None:
        pytest.fail("there is no initdb; install PostgreSQL's server")
    with running_server(binaries) as server:
        yield create_database(server, "keys")


def test_hosts_share_one_key_table(url: str, tmp_path: Path) -> None:
    keys: dict[str, Any] = {**keys_at(tmp_path), "table": url}
    with pytest.raises(ConfigurationError, match="zfsstore keys init"):
        open_key_ring({**keys, "create": False}).check()
    with ThreadPoolExecutor(4) as starting:  # at once
        rings = list(starting.map(open_key_ring, [keys] * 4))
    found = []
    threads = [
        threading.Thread(target=lambda ring=ring: found.append(ring.active("acme")))
        for ring in rings * 2
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 8 == len(found)
    assert 1 == len({key.id for key in found})
    with pytest.raises(AlreadyExists):
        KeyTable(url).create()

    vault = Vault(tmp_path)
    vault.keys = keys
    vault.reopen()
    acme = {"key_domain": "acme"}
    made = vault.put(b"x", acme)
    rings[0].rotate("acme")
    assert b"x" == vault.get(made, acme)
    assert 2 == rings[1].shred("acme")
    assert [(KeyState.DESTROYED, b"")] * 2 == [(r.state, r.wrapped) for r in rings[2].list_keys()]
    vault.reopen()
    with pytest.raises(KeyDestroyed):
        vault.get(made, acme)


def test_an_unreachable_database(tmp_path: Path) -> None:
    place = "postgresql+psycopg://user:hunter2hunter2@127.0.0.1:1/none"
    with pytest.raises(Unavailable) as caught:
        open_key_ring({**keys_at(tmp_path), "table": place})
    assert "hunter2hunter2" not in str(caught.value)
