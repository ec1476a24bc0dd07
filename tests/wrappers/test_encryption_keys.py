"""Keys: where they come from, rotation of root and tenant keys, shredding; and no word of them."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import threading
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from modules.errors import (
    AlreadyExists,
    Busy,
    KeyDestroyed,
    KeyNotFound,
    StorageError,
    WrongKey,
)
from modules.wrappers.encryption import format as e1
from modules.wrappers.keys import KeyRing, open_key_ring
from modules.wrappers.keys.keyfile import add_root_key
from modules.wrappers.keys.local import (
    LocalRootKeys,
    root_id,
)
from modules.wrappers.keys.records import KeyState
from modules.wrappers.keys.table import KeyTable
from tests.wrappers.encrypted import Vault, keys_at

ONE, TWO = "11" * 32, "22" * 32


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    return Vault(tmp_path)


def ring_at(tmp_path: Path, text: list[str], clock: Clock | None = None) -> KeyRing:
    """Return a key ring whose root keys are ``text[0]``, which a test may change."""
    table = KeyTable(str(tmp_path / "keys.db"))
    if not table.exists():
        table.create()
    timer = clock or Clock()
    roots = LocalRootKeys("test", lambda: text[0], clock=timer)
    return KeyRing(table, roots, clock=timer)


def test_a_domain_has_one_key_that_all_processes_use(tmp_path: Path) -> None:
    text = [f"1:{ONE}"]
    ring, other = ring_at(tmp_path, text), ring_at(tmp_path, text)
    key = ring.active("acme")
    assert key == other.active("acme")
    assert key == ring.find(key.id, "acme")
    assert key != ring.active("other")
    assert [("acme", 1), ("other", 1)] == [(r.key_domain, r.version) for r in ring.list_keys()]
    assert 0o600 == (tmp_path / "keys.db").stat().st_mode & 0o777


def test_the_table_is_made_whole_or_not_at_all(tmp_path: Path) -> None:
    """Many processes that start at once, and one that was killed while it made the table."""
    keys, found, errors = keys_at(tmp_path), [], []
    (tmp_path / "keys.db.tmp-killed").write_bytes(b"half")

    def start() -> None:
        try:
            ring = open_key_ring(keys)
            ring.check()
            found.append(ring.active("acme").key)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=start) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [] == errors
    assert 8 == len(found)
    assert 1 == len(set(found))
    assert {"keys.db", "root.key", "keys.db.tmp-killed"} == set(os.listdir(tmp_path))
    with pytest.raises(AlreadyExists):
        KeyTable(keys["table"]).create()
    with pytest.raises(StorageError, match="create key table"):
        KeyTable(str(tmp_path / "absent" / "keys.db")).create()


def test_many_threads_and_rings_make_one_first_key(tmp_path: Path) -> None:
    text = [f"1:{ONE}"]
    rings = [ring_at(tmp_path, text) for _ in range(4)]
    found: list[bytes] = []
    threads = [
        threading.Thread(target=lambda ring=ring: found.append(ring.active("acme").key))
        for ring in rings * 2
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert 1 == len(set(found)) == len(rings[0].list_keys())


def test_rotated_tenant_key_encrypts_and_the_old_one_decrypts(vault: Vault) -> None:
    before = vault.put(b"before")
    old = vault.module.keys.active("default")
    made = vault.module.keys.rotate("default")
    after = vault.put(b"after")
    assert made.id == vault.file(after).read_bytes()[12:28]
    assert old.id == vault.file(before).read_bytes()[12:28]
    assert (b"before", b"after") == (vault.get(before), vault.get(after))
    states = {r.version: r.state for r in vault.module.keys.list_keys()}
    assert {1: KeyState.DECRYPT_ONLY, 2: KeyState.ACTIVE} == states


def test_rewrapped_object_outlives_its_old_tenant_key(vault: Vault) -> None:
    made = vault.put(b"x" * 100)
    assert made == vault.module.rewrap({}, made)
    vault.module.keys.rotate("default")
    rewrapped = vault.module.rewrap({}, made)
    assert rewrapped != made
    assert rewrapped == vault.module.rewrap({}, rewrapped)
    assert b"x" * 100 == vault.get(rewrapped) == vault.get(made)
    with pytest.raises(Busy, match="rotate the domain's key first"):
        vault.module.keys.destroy_version("default", 2)
    with pytest.raises(KeyNotFound, match="no version 7"):
        vault.module.keys.destroy_version("default", 7)
    vault.module.keys.destroy_version("default", 1)
    assert b"x" * 100 == vault.get(rewrapped)
    with pytest.raises(KeyDestroyed):
        vault.get(made)
    vault.module.keys.rotate("default")
    again = vault.module.rewrap({}, rewrapped)
    assert b"x" * 100 == vault.get(again)
    for at in (100, 130, len(again) - len(vault.file(made).name) - 2):
        bad = again[:at] + ("0" if again[at] != "0" else "1") + again[at + 1 :]
        with pytest.raises(StorageError):
            vault.get(bad)
    vault.module.delete({}, again)


def test_shredding_one_tenant_leaves_the_others(vault: Vault) -> None:
    acme, other = {"key_domain": "acme"}, {"key_domain": "other"}
    shredded, kept = vault.put(b"gone", acme), vault.put(b"kept", other)
    vault.module.keys.rotate("acme")
    wrapped = [r.wrapped for r in vault.module.keys.list_keys() if r.key_domain == "acme"]
    open_reader = vault.module.get_read_stream(acme, shredded)
    assert vault.module.keys.shred("acme") == 2
    assert vault.module.keys.shred("acme") == 0
    with open_reader:  # it has its key; it lives as long as its request
        assert b"gone" == open_reader.read()
    for _ in range(2):
        with pytest.raises(KeyDestroyed, match="was destroyed on 20"):
            vault.get(shredded, acme)
        with pytest.raises(KeyDestroyed):
            vault.put(b"new", acme)
        vault.reopen()
    assert not vault.module.available(acme, shredded)
    assert vault.module.available(other, kept)
    assert b"kept" == vault.get(kept, other)
    with pytest.raises(KeyDestroyed):
        vault.module.keys.rotate("acme")
    tombstones = [r for r in vault.module.keys.list_keys() if r.key_domain == "acme"]
    assert [(KeyState.DESTROYED, b"", "")] * 2 == [(r.state, r.wrapped, r.root) for r in tombstones]
    on_disk = (vault.directory / "keys.db").read_bytes()
    assert not any(key in on_disk for key in wrapped)
    assert ["keys.db", "objects", "root.key"] == sorted(os.listdir(vault.directory))


def test_another_process_s_key_lives_a_minute_at_most(tmp_path: Path) -> None:
    text, clock = [f"1:{ONE}"], Clock()
    ring, operator = ring_at(tmp_path, text, clock), ring_at(tmp_path, text)
    key = ring.active("acme")
    operator.shred("acme")
    clock.now = 59.0
    assert key == ring.active("acme") == ring.find(key.id, "acme")
    clock.now = 60.0
    with pytest.raises(KeyDestroyed):
        ring.active("acme")
    with pytest.raises(KeyDestroyed):
        ring.find(key.id, "acme")
    assert ring.is_destroyed("acme")
    assert not ring.is_destroyed("never seen")
    operator.active("later")
    assert not ring.is_destroyed("later")
    operator.shred("later")
    assert not ring.is_destroyed("later")
    clock.now += 60
    assert ring.is_destroyed("later")


def test_key_ring_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("modules.wrappers.keys.ring._MAX_KEPT", 4)
    ring = ring_at(tmp_path, [f"1:{ONE}"])
    for number in range(10):
        ring.active(f"d{number}")
    assert len(ring._active) <= 4
    assert len(ring._by_id) <= 4


def test_root_rotation_rewraps_every_row_and_can_be_repeated(tmp_path: Path) -> None:
    text, clock = [f"1:{ONE}"], Clock()
    ring = ring_at(tmp_path, text, clock)
    keys = {name: ring.active(name) for name in ("a", "b", "c")}
    ring.active("shredded")
    ring.shred("shredded")
    text[0] = f"1:{ONE}\n2:{TWO}"
    clock.now = 61
    table = ring.table
    real, rows = table.rewrap, []

    def interrupted(*row: Any) -> bool:
        if len(rows) == 1:
            raise KeyboardInterrupt
        rows.append(row)
        return real(*row)

    table.rewrap = interrupted  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        ring.rotate_root()
    roots = {record.root for record in table.list_keys() if record.wrapped}
    assert {root_id(bytes.fromhex(ONE)), root_id(bytes.fromhex(TWO))} == roots
    fresh = ring_at(tmp_path, text)
    assert keys == {name: fresh.active(name) for name in keys}
    assert fresh.rotate_root() == 2
    assert fresh.rotate_root() == 0
    text[0] = f"2:{TWO}"
    last = ring_at(tmp_path, text)
    assert keys == {name: last.active(name) for name in keys}


ROTATING = """
import json, sys
from modules.wrappers.keys import open_key_ring
ring = open_key_ring(json.loads(sys.argv[1]))
print("ready", flush=True)
sys.stdin.readline()
print(ring.rotate_root(), flush=True)
"""


def test_root_rotation_killed_half_way_while_objects_are_read_and_written(vault: Vault) -> None:
    contexts = [{"key_domain": f"d{number}"} for number in range(6)]
    made = [vault.put(b"x", context) for context in contexts]
    add_root_key(f"{vault.directory}/root.key")
    stop, errors = threading.Event(), []

    def use() -> None:
        while not stop.is_set():
            try:
                vault.module.keys.forget()  # each round asks the table and the key file
                for context, name in zip(contexts, made, strict=True):
                    assert vault.get(name, context) == b"x"
                assert vault.get(vault.put(b"new", contexts[0]), contexts[0]) == b"new"
            except Exception as error:
                errors.append(error)
                return

    user = threading.Thread(target=use)
    user.start()
    for rounds in range(2):
        process = subprocess.Popen(
            [sys.executable, "-c", ROTATING, json.dumps(vault.keys)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        process.stdin.write(b"\n")
        process.stdin.flush()
        if rounds == 0:
            process.kill()
        else:
            process.stdout.readline()
        process.wait()
        process.stdin.close()
        process.stdout.close()
    stop.set()
    user.join()
    assert [] == errors
    current = vault.module.keys.root_in_use()
    assert {current} == {record.root for record in vault.module.keys.list_keys()}
    key_file = vault.directory / "root.key"
    newest = key_file.read_text().splitlines()[-1]
    key_file.write_text(newest + "\n")
    vault.reopen()
    assert [b"x"] * 6 == [vault.get(n, c) for n, c in zip(made, contexts, strict=True)]


def test_rows_of_the_table_cannot_be_exchanged(tmp_path: Path) -> None:
    ring = ring_at(tmp_path, [f"1:{ONE}"])
    mine, yours = ring.active("mine"), ring.active("yours")
    rows = {record.key_domain: record for record in ring.list_keys()}
    ring.table.rewrap(rows["mine"], rows["mine"].root, rows["yours"].wrapped)
    ring.forget()
    with pytest.raises(WrongKey, match="the key table was altered"):
        ring.find(mine.id, "mine")
    assert yours == ring.find(yours.id, "yours")


def test_keys_are_in_no_repr_and_no_log(vault: Vault, caplog: pytest.LogCaptureFixture) -> None:
    made = vault.put(b"x")
    ring = vault.module.keys
    secret = ring.active("default").key
    (row,) = ring.list_keys()
    root = vault.directory.joinpath("root.key").read_text().rpartition(":")[2].strip()
    shown = " ".join(
        (repr(ring.active("default")), repr(row), repr(ring), repr(vault.module), repr(ring._roots))
    )
    with pytest.raises(StorageError) as caught:
        vault.get(made, {"key_domain": "other"})
    shown += str(caught.value) + repr(caught.value) + caplog.text
    for hidden in (secret, row.wrapped, bytes.fromhex(root)):
        assert hidden.hex() not in shown
        assert repr(hidden)[2:-1] not in shown


def test_a_row_that_lost_a_race_is_not_resurrected(tmp_path: Path) -> None:
    ring = ring_at(tmp_path, [f"1:{ONE}"])
    ring.active("acme")
    (row,) = ring.list_keys()
    later = replace(row, id=os.urandom(16), version=1, created_at=datetime.now(UTC))
    assert not ring.table.add(later)
    ring.shred("acme")
    assert not ring.table.rewrap(row, "local:0", b"x")
    assert [KeyState.DESTROYED] == [r.state for r in ring.list_keys()]


def test_module_data_is_checked_before_anything_is_opened(vault: Vault) -> None:
    made = vault.put(b"x")
    parsed = e1.parse_module_data(made)
    assert made == str(parsed)
    for bad in ("", "e1:", made[3:], made.upper(), f"e1:{parsed.uid}:01:-:x", made + "\0"):
        assert vault.module.available({}, bad) is False
    with pytest.raises(StorageError):
        vault.module.put({"key_domain": "a\nb"}, io.BytesIO(b"x"))
