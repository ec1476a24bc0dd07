"""``zfsstore volume send`` and ``receive`` between processes, and how far they are."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Store
from zfsstore.cli.progress import Progress

COMMAND = [sys.executable, "-m", "zfsstore.cli"]


@pytest.fixture
def stream(store: Store, tmp_path: Path) -> Path:
    """The stream of acme/photos@monday."""
    store.says("snapshot", "create", "acme/photos", "monday")
    file = tmp_path / "monday.stream"
    send(store, file, "acme/photos@monday")
    return file


def send(store: Store, file: Path, *argv: str) -> str:
    """Send into a file, as a shell does; return what stands on stderr."""
    with file.open("wb") as stdout:
        done = run(store, "volume", "send", *argv, stdout=stdout)
    assert 0 == done.returncode, done.stderr
    return done.stderr.decode()


def receive(store: Store, file: Path, *argv: str) -> subprocess.CompletedProcess[bytes]:
    with file.open("rb") as stdin:
        return run(store, "volume", "receive", *argv, stdin=stdin, stdout=subprocess.PIPE)


def run(store: Store, *argv: str, **streams: object) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(  # type: ignore[call-overload,no-any-return]
        [*COMMAND, "--data", str(store.config.data_dir), *argv],
        stderr=subprocess.PIPE,
        timeout=60,
        **streams,
    )


def test_a_bucket_goes_through_a_file(store: Store, stream: Path) -> None:
    done = receive(store, stream, "acme/copy", "--json")

    assert (0, b"") == (done.returncode, done.stderr)
    assert {
        "name": "acme/copy",
        "created": True,
        "bytes": stream.stat().st_size,
        "dry_run": False,
    } == json.loads(done.stdout)
    assert "first" == store.get("acme/copy", "plan")
    assert store.json("volume", "show", "acme/copy")["read_only"]
    assert store.refused("volume", "break-off", "acme/photos")
    assert "broke off acme/copy\n" == store.says("volume", "break-off", "acme/copy")
    store.put("acme/copy", "plan", "other")


@pytest.mark.slow
def test_what_changed_follows(store: Store, stream: Path, tmp_path: Path) -> None:
    assert 0 == receive(store, stream, "acme/copy").returncode
    store.put("acme/photos", "plan", "second")
    store.says("snapshot", "create", "acme/photos", "tuesday")
    said = send(store, tmp_path / "more", "acme/photos@tuesday", "--base", "monday", "--json")
    told = json.loads(said)
    assert ("acme/photos@tuesday", "monday") == (told["snapshot"], told["base"])
    assert (tmp_path / "more").stat().st_size == told["bytes"]

    done = receive(store, tmp_path / "more", "acme/copy")

    assert (0, b"") == (done.returncode, done.stderr)
    assert done.stdout.startswith(b"received acme/copy, ")
    assert "second" == store.get("acme/copy", "plan")
    assert ["monday", "tuesday"] == [r["name"] for r in store.json("snapshot", "list", "acme/copy")]


@pytest.mark.slow
def test_half_a_stream_changes_nothing(store: Store, stream: Path) -> None:
    half = stream.with_suffix(".half")
    half.write_bytes(stream.read_bytes()[: stream.stat().st_size // 2])

    done = receive(store, half, "acme/copy")

    assert (1, b"") == (done.returncode, done.stdout)
    assert 1 == done.stderr.count(b"\n")
    assert store.refused("volume", "show", "acme/copy")


def test_what_cannot_be_sent_or_received_is_refused(store: Store, stream: Path) -> None:
    for argv in (
        ("acme/photos@none",),
        ("acme/none@monday",),
        ("acme/photos@monday", "--base", "none"),
        ("acme/photos@monday", "--raw"),
    ):
        assert store.refused("volume", "send", *argv)
        assert store.refused("volume", "send", *argv, "--dry-run")
    for name in ("acme", "nobody/copy", "acme/.."):
        done = receive(store, stream, name)
        assert (1, b"") == (done.returncode, done.stdout)
    assert b"add --yes" in receive(store, stream, "acme/photos", "--rollback").stderr


def test_a_terminal_gets_and_gives_no_stream(store: Store, stream: Path) -> None:
    master, slave = os.openpty()
    try:
        sent = run(store, "volume", "send", "acme/photos@monday", stdout=slave)
        received = run(store, "volume", "receive", "acme/copy", stdin=slave)
    finally:
        os.close(slave)
        os.close(master)
    assert (1, 1) == (sent.returncode, received.returncode)
    assert b"standard output is a terminal; write it to a file" in sent.stderr
    assert b"standard input is a terminal; read the stream from a file" in received.stderr


@pytest.mark.slow
def test_progress_is_told_when_asked_for(store: Store, tmp_path: Path, stream: Path) -> None:
    said = send(store, tmp_path / "again", "acme/photos@monday", "--progress")
    first, second = said.splitlines()
    assert re.fullmatch(r"[\d.]+ \w+ in \d+ s, [\d.]+ \w+/s", first)
    assert second.startswith("sent acme/photos@monday, ")
    assert 1 == len(send(store, tmp_path / "again", "acme/photos@monday").splitlines())


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_rewrites_its_line_at_a_terminal_and_adds_lines_elsewhere() -> None:
    for stream, wanted, start in ((_Terminal(), None, "\r\x1b[K"), (io.StringIO(), True, "")):
        clock = iter(range(0, 1000, 20))
        progress = Progress(is_wanted=wanted, stream=stream, clock=lambda c=clock: next(c))
        progress.add(1 << 20)
        progress.finish()
        end = "" if start else "\n"
        assert stream.getvalue().startswith(f"{start}1.0 MiB in 60 s, 17.1 KiB/s{end}")
        assert stream.getvalue().endswith("/s\n")


def test_progress_is_silent_where_nobody_asked() -> None:
    stream = io.StringIO()
    progress = Progress(stream=stream)
    progress.add(1)
    progress.finish()
    assert ("", 1) == (stream.getvalue(), progress.total_bytes)
