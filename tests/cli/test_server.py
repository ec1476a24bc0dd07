"""``zfsstore serve`` and ``zfsstore reload`` as processes."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from zfsstore.cli.main import main


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A running server on a new data folder, and its address."""
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "zfsstore.cli", "--data", str(tmp_path / "data"), "serve"),
            *("--listen", "127.0.0.1:0", "--workers", "1"),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    address = None
    for line in process.stdout:
        if found := re.search(r"at (http://\S+)", line):
            address = found[1]
            break
    assert address is not None, f"it ended with status {process.wait()}"
    try:
        yield process, address
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()


def status_of(address: str) -> int:
    try:
        with urllib.request.urlopen(f"{address}/cdmi/", timeout=30) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def test_it_serves_reloads_and_stops(
    server: tuple[subprocess.Popen[str], str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    process, address = server
    data = str(tmp_path / "data")
    assert 401 == status_of(address)

    assert 0 == main(["--data", data, "reload"])
    assert f"told process {process.pid} to replace its workers\n" == capsys.readouterr().out
    assert process.stdout is not None
    old_worker = next(m[1] for line in process.stdout if (m := re.search(r"pid: (\d+)", line)))
    for line in process.stdout:  # until the old worker is gone; the deadline is the test's own
        if f"({'pid: ' + old_worker})" in line and "exit" in line.lower():
            break
    assert 401 == status_of(address)

    assert 1 == main(["--data", data, "serve"])
    assert "zfsstore: cannot serve" in capsys.readouterr().err

    process.send_signal(signal.SIGTERM)
    assert 0 == process.wait(timeout=60)


def test_reload_signals_no_process_that_is_no_server(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A server that was killed leaves its files; another program may have its number by now."""
    data = tmp_path / "data"
    data.mkdir()
    with subprocess.Popen(["sleep", "60"]) as bystander:
        for left in ("zfsstore.pid", "server.lock"):
            (data / left).write_text(f"{bystander.pid}\n")
        assert 1 == main(["--data", str(data), "reload"])
        assert bystander.poll() is None
        bystander.kill()

    assert "no server runs on this data folder; check --data" in capsys.readouterr().err


def test_a_wrong_setting_stops_serve_at_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert 1 == main(["--data", str(tmp_path / "data"), "serve", "--threads", "1"])
    assert "cannot use setting threads: must be 32 or more, not 1" in capsys.readouterr().err
    assert not (tmp_path / "data").exists()
