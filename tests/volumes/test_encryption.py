"""Where the key of an encrypted tenant comes from, and all that can be wrong with it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from modules.errors import InvalidArgument, StorageError
from modules.volume_properties import EncryptionKey
from zfsstore.volumes.encryption import read_key
from zfsstore.zfs.errors import KeyUnavailable

RAW = bytes(range(32))
SECRET = "0123456789abcdef" * 4


def key_file(tmp_path: Path, content: bytes, mode: int = 0o600) -> str:
    path = tmp_path / "key"
    path.write_bytes(content)
    path.chmod(mode)
    return str(path)


def python(*statements: str) -> EncryptionKey:
    return EncryptionKey(command=(sys.executable, "-c", "\n".join(statements)), format="hex")


@pytest.mark.parametrize(
    ("key_format", "content", "expected"),
    [
        ("raw", RAW, RAW),
        ("raw", b"\n" * 32, b"\n" * 32),
        ("hex", SECRET.encode() + b"\n", SECRET.encode()),
        ("passphrase", b"correct horse\r\n", b"correct horse"),
    ],
)
def test_key_from_a_file(tmp_path: Path, key_format: str, content: bytes, expected: bytes) -> None:
    key = EncryptionKey(file=key_file(tmp_path, content), format=key_format)  # type: ignore[arg-type]  # parametrised
    assert expected == read_key(key)


def test_key_from_a_commands_output() -> None:
    assert SECRET.encode() == read_key(python(f"print('{SECRET}')"))


@pytest.mark.parametrize(
    ("key_format", "content", "problem"),
    [
        ("raw", RAW + b"\n", "33 bytes, not 32"),
        ("raw", b"", "0 bytes, not 32"),
        ("hex", SECRET.encode()[:-1], "64 hexadecimal digits"),
        ("passphrase", b"short", "5 bytes, not 8 to 512"),
        ("passphrase", b"two\nlines of it", "more than one line"),
    ],
)
def test_what_is_no_key_is_refused_without_being_shown(
    tmp_path: Path, key_format: str, content: bytes, problem: str
) -> None:
    key = EncryptionKey(file=key_file(tmp_path, content), format=key_format)  # type: ignore[arg-type]  # parametrised
    with pytest.raises(InvalidArgument, match=problem) as caught:
        read_key(key)
    assert not content or content.decode("latin-1") not in str(caught.value)


@pytest.mark.parametrize(
    ("key", "problem"),
    [
        (EncryptionKey(), "file or a command"),
        (EncryptionKey(file="/k", command=("k",)), "not both"),
        (EncryptionKey(command=()), "program"),
        (EncryptionKey(command=("a", "b\0")), "program"),
        (EncryptionKey(file=""), "path"),
        (EncryptionKey(file="/k", cipher="rot13"), "aes-256-gcm"),
        (EncryptionKey(file="/k", format="der"), "passphrase"),  # type: ignore[arg-type]  # wrong on purpose
    ],
)
def test_source_that_cannot_be_meant_is_refused(key: EncryptionKey, problem: str) -> None:
    with pytest.raises(InvalidArgument, match=problem):
        read_key(key)


def test_file_that_cannot_be_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "large").write_bytes(b"x" * 5000)
    (tmp_path / "large").chmod(0o600)
    cases = {
        "absent": "No such file",
        "fifo": "no plain file",
        ".": "no plain file",
        "large": "more than 1024 bytes",
    }
    for name, problem in cases.items():
        with pytest.raises(KeyUnavailable, match=problem):
            read_key(EncryptionKey(file=str(tmp_path / name)))
    with pytest.raises(KeyUnavailable, match="everybody may read it"):
        read_key(EncryptionKey(file=key_file(tmp_path, RAW, 0o644)))


def failure(key: EncryptionKey) -> str:
    with pytest.raises(StorageError) as caught:
        read_key(key, timeout_s=0.5)
    assert SECRET not in str(caught.value)
    assert SECRET not in repr(caught.value)
    assert isinstance(caught.value, KeyUnavailable)
    return str(caught.value)


def test_command_that_gives_no_key() -> None:
    assert "cannot be run" in failure(EncryptionKey(command=("/nonexistent/key-tool",)))
    says = f"print('{SECRET}'); import sys; print('{SECRET}', file=sys.stderr)"
    assert "exit status 3" in failure(python(says, "sys.exit(3)"))
    assert "signal 9" in failure(python("import os; os.kill(os.getpid(), 9)"))
    assert "more than 1024 bytes" in failure(python("while True: print('x' * 4096)"))
    assert "0.5 s and was killed" in failure(
        python(f"print('{SECRET}', flush=True)", "import time; time.sleep(60)")
    )
    closed = python("import os, time", "os.close(1); os.close(2)", "time.sleep(60)")
    assert "was killed" in failure(closed)


def test_what_a_hanging_command_has_started_is_killed_too(tmp_path: Path) -> None:
    note = tmp_path / "child"
    script = f'sleep 600 & echo $! > "{note}"; wait'
    failure(EncryptionKey(command=("/bin/sh", "-c", script), format="hex"))
    child = note.read_text().strip()
    deadline = time.monotonic() + 10
    while is_running(child):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def is_running(pid: str) -> bool:
    argv = ["ps", "-o", "stat=", "-p", pid]
    state = subprocess.run(argv, capture_output=True, text=True, check=False).stdout.strip()
    return state not in ("", "Z")
