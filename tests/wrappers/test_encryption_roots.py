"""Where root keys come from, and what is said about settings that are wrong."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import pytest

from modules.conformance.spec import Modules
from modules.errors import (
    AlreadyExists,
    ConfigurationError,
    KeyNotFound,
    ModuleLoadError,
    NotSupported,
    PermissionDenied,
    StorageError,
    Unavailable,
)
from modules.wrappers.keys import open_key_ring
from modules.wrappers.keys.keyfile import add_root_key, create_key_file, read_key_file
from modules.wrappers.keys.local import (
    parse_root_keys,
)
from modules.wrappers.keys.table import KeyTable
from tests.wrappers.encrypted import encrypted, keys_at

ONE, TWO = "11" * 32, "22" * 32


def test_key_file_must_be_private(tmp_path: Path) -> None:
    path = tmp_path / "root.key"
    create_key_file(str(path))
    assert 0o600 == path.stat().st_mode & 0o777
    text = read_key_file(str(path))
    with pytest.raises(AlreadyExists):
        create_key_file(str(path))
    assert text == path.read_text()
    for mode in (0o640, 0o604, 0o620, 0o666):
        path.chmod(mode)
        with pytest.raises(PermissionDenied, match="chmod 0600"):
            read_key_file(str(path))
    path.chmod(0o600)
    link = tmp_path / "link"
    link.symlink_to(path)
    with pytest.raises(StorageError):
        read_key_file(str(link))
    with pytest.raises(ConfigurationError, match="does not exist"):
        read_key_file(str(tmp_path / "absent"))
    assert 2 == add_root_key(str(path))
    assert 3 == add_root_key(str(path))
    assert 0o600 == path.stat().st_mode & 0o777
    assert {1, 2, 3} == set(parse_root_keys(path.read_text(), source="x"))
    assert [path.name, link.name] == sorted(os.listdir(tmp_path), reverse=True)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no key"),
        ("# only a comment", "holds no key"),
        ("1:abcd", "line 1 is no VERSION:KEY"),
        (f"{ONE}", "line 1 is no VERSION:KEY"),
        (f"1:{ONE}\n1:{TWO}", "line 2 repeats version 1"),
        (f"1:{ONE}\nx:{TWO}", "line 2 is no VERSION:KEY"),
    ],
)
def test_root_keys_that_are_none(text: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message) as caught:
        parse_root_keys(text, source="key file /etc/root.key")
    assert not any(key in str(caught.value) for key in (ONE, TWO, "abcd"))


def test_root_keys_from_the_environment_and_from_a_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = KeyTable(str(tmp_path / "keys.db"))
    table.create()
    place = str(tmp_path / "keys.db")
    monkeypatch.setenv("TEST_ROOT_KEYS", f"1:{ONE};2:{TWO}")
    ring = open_key_ring(
        {"table": place, "root": {"provider": "environment", "variable": "TEST_ROOT_KEYS"}}
    )
    key = ring.active("acme")
    script = tmp_path / "keys.sh"
    script.write_text(f"#!/bin/sh\necho secrets on stderr: {ONE} >&2\necho 2:{TWO}\n")
    script.chmod(0o700)
    command = {"provider": "command", "argv": [str(script)], "timeout_s": 10}
    assert key == open_key_ring({"table": place, "root": command}).active("acme")
    script.write_text(f"#!/bin/sh\necho {ONE}; exit 3\n")
    with pytest.raises(Unavailable, match="ended with status 3") as failed:
        open_key_ring({"table": place, "root": command}).active("acme")
    script.write_text("#!/bin/sh\nexec sleep 60\n")
    with pytest.raises(Unavailable, match=r"did not end within 0\.1 s"):
        open_key_ring({"table": place, "root": command | {"timeout_s": 0.1}}).active("acme")
    with pytest.raises(ConfigurationError, match="no such program"):
        open_key_ring(
            {"table": place, "root": {"provider": "command", "argv": ["/absent/program"]}}
        ).active("acme")
    monkeypatch.delenv("TEST_ROOT_KEYS")
    with pytest.raises(ConfigurationError, match="TEST_ROOT_KEYS is not set"):
        open_key_ring(
            {"table": place, "root": {"provider": "environment", "variable": "TEST_ROOT_KEYS"}}
        ).active("acme")
    assert ONE not in str(failed.value)


def test_moving_to_another_provider_with_the_former_one_at_hand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = keys_at(tmp_path)
    key = open_key_ring(keys).active("acme")
    monkeypatch.setenv("TEST_ROOT_KEYS", f"1:{TWO}")
    new = {"provider": "environment", "variable": "TEST_ROOT_KEYS"}
    ring = open_key_ring({"table": keys["table"], "root": new, "former_roots": [keys["root"]]})
    assert key == ring.active("acme")
    assert ring.rotate_root() == 1
    assert key == open_key_ring({"table": keys["table"], "root": new}).active("acme")
    with pytest.raises(KeyNotFound):
        open_key_ring(keys).active("acme")


FILE = {"provider": "file", "path": "/tmp/x"}


@pytest.mark.parametrize(
    ("keys", "field"),
    [
        (None, "keys"),
        ({}, "keys"),
        ({"table": "/t", "root": FILE, "key": ONE}, "keys"),
        ({"table": 3, "root": FILE}, "keys.table"),
        ({"table": "relative.db", "root": FILE}, "keys.table"),
        ({"table": "mysql://h/d", "root": FILE}, "keys.table"),
        ({"table": "/t", "root": FILE, "create": 1}, "keys.create"),
        ({"table": "/t", "root": FILE, "former_roots": FILE}, "keys.former_roots"),
        ({"table": "/t", "root": ONE}, "keys.root.provider"),
        ({"table": "/t", "root": {"provider": ONE}}, "keys.root.provider"),
        ({"table": "/t", "root": {"provider": "file"}}, "keys.root"),
        ({"table": "/t", "root": FILE | {"path": "x"}}, "keys.root.path"),
        ({"table": "/t", "root": FILE | {"key": ONE}}, "keys.root"),
        ({"table": "/t", "root": {"provider": "command", "argv": "sh"}}, "keys.root.argv"),
        ({"table": "/t", "root": {"provider": "command", "argv": ["sh"]}}, "keys.root.argv"),
        (
            {"table": "/t", "root": {"provider": "command", "argv": ["/x"], "timeout_s": 0}},
            "keys.root.timeout_s",
        ),
        (
            {"table": "/t", "root": {"provider": "vault-transit", "address": "x", "name": "k"}},
            "keys.root.address",
        ),
    ],
)
def test_wrong_settings_are_named_and_never_quoted(keys: object, field: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        open_key_ring(keys)
    assert field == caught.value.field
    assert ONE not in str(caught.value)


def test_an_absent_damaged_or_newer_key_table(tmp_path: Path) -> None:
    keys = keys_at(tmp_path)
    open_key_ring(keys)
    del keys["create"]
    table = Path(keys["table"])
    kept = table.read_bytes()
    table.unlink()
    with pytest.raises(ModuleLoadError, match="zfsstore keys init"):
        Modules({"enc": encrypted("leaf", keys)})
    assert not table.exists(), "an absent table is never made up: its keys would be others"
    table.write_bytes(b"not a database" * 100)
    with pytest.raises(StorageError):
        open_key_ring(keys).check()
    table.write_bytes(kept)
    import sqlite3

    with contextlib.closing(sqlite3.connect(table)) as database, database:
        database.execute("UPDATE about SET schema = 2")
    with pytest.raises(NotSupported, match="newer version"):
        open_key_ring(keys).check()
