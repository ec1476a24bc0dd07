"""Part three: through HTTP, against the raw server."""

from __future__ import annotations

import itertools
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import time
from base64 import b64encode
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from bench.client import Connections
from bench.data import Pool, Source
from bench.measure import Case, run_case
from bench.report import case_to_dict, format_case, format_rows
from bench.settings import SMALL_BYTES, Settings

CONNECTIONS: Final = 32
WORKERS: Final = 2
START_TIMEOUT_S: Final = 60.0
STALL_S: Final = 0.035


class HttpSubject:
    """A server process, and connections to it."""

    def __init__(
        self,
        name: str,
        process: subprocess.Popen[str],
        address: tuple[str, int],
        *,
        is_raw: bool,
        container: str = "",
        header: str = "",
    ) -> None:
        self.name = name
        self.is_raw = is_raw
        self.process = process
        self._connections = Connections(address, header)
        self._container = container
        self._numbers = itertools.count()

    def put(self, source: Source, size_bytes: int) -> str:
        path = f"{self._container}/{next(self._numbers)}"
        connection = self._connections.take()
        connection.put(path, source, size_bytes)
        self._connections.give_back(connection)
        return path

    def get(self, handle: str) -> int:
        connection = self._connections.take()
        length = connection.get(handle)
        self._connections.give_back(connection)
        return length

    def read_back(self, handle: str) -> bytes:
        connection = self._connections.take()
        body = connection.read_back(handle)
        self._connections.give_back(connection)
        return body

    def delete(self, handle: str) -> None:
        connection = self._connections.take()
        connection.delete(handle)
        self._connections.give_back(connection)

    def close(self) -> None:
        self._connections.close()
        end(self.process)


def end(process: subprocess.Popen[str]) -> None:
    """Stop a server and all processes of its group."""
    os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(timeout=30)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    if process.stdout is not None:
        process.stdout.close()


def start_raw(root: Path) -> HttpSubject:
    """Start the raw server."""
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.rawserver", str(root / "raw"), str(WORKERS)],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    port = int(process.stdout.readline())
    return HttpSubject("raw sockets and files", process, ("127.0.0.1", port), is_raw=True)


def start_host(root: Path, parser: str) -> HttpSubject:
    """Start ``zfsstore serve`` with one of gunicorn's two parsers, a user and a bucket."""
    data, port = root / parser, _free_port()
    settings = root / f"{parser}.toml"
    settings.write_text(
        f'data_dir = {json.dumps(str(data))}\nlisten = "127.0.0.1:{port}"\n'
        f'workers = {WORKERS}\nhttp_parser = "{parser}"\nlog_level = "warning"\n',
        encoding="utf-8",
    )
    command = [sys.executable, "-m", "zfsstore.cli", "--config", str(settings)]
    process = subprocess.Popen(
        [*command, "serve"], stdout=subprocess.DEVNULL, text=True, start_new_session=True
    )
    try:
        _wait_for(port, process)
        made = subprocess.run(
            [*command, "user", "create", "bench", "--policy", "default", "--json"],
            check=True,
            capture_output=True,
            text=True,
        )
        user = f"bench:{json.loads(made.stdout)['password']}"
        header = f"Authorization: Basic {b64encode(user.encode()).decode()}\r\n"
        connection = Connections(("127.0.0.1", port), header).take()
        connection.put("/cdmi/objects/", Source(b"x", 0), 0)
        connection.close()
    except BaseException:
        end(process)
        raise
    name = f"zfsstore serve, {'C' if parser == 'fast' else 'Python'} parser"
    return HttpSubject(
        name,
        process,
        ("127.0.0.1", port),
        is_raw=False,
        container="/cdmi/objects",
        header=header,
    )


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def _wait_for(port: int, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"zfsstore serve ended with status {process.returncode}")
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.05)
    raise RuntimeError("zfsstore serve does not answer")


def plan_cases(settings: Settings) -> list[Case]:
    """Return what to measure: small and large objects, by one and by 32 connections."""
    puts = max(1, settings.small_puts // 4)
    return [
        Case(SMALL_BYTES, 1, puts=puts, reads=2),
        Case(SMALL_BYTES, CONNECTIONS, puts=max(1, puts // 16), reads=2),
        Case(settings.large_bytes, 1, puts=1),
        Case(settings.parallel_bytes, CONNECTIONS, puts=1),
    ]


def measure_http(settings: Settings, root: Path, say: Callable[[str], None]) -> dict[str, Any]:
    """Measure every case through HTTP, the stalls and the sendfile; return JSON."""
    pool = Pool()
    subjects: list[HttpSubject] = []
    try:
        subjects.append(start_raw(root))
        subjects += [start_host(root, parser) for parser in _parsers()]
        cases = []
        for case in plan_cases(settings):
            results = run_case(case, subjects, pool, rounds=settings.rounds)
            cases.append(case_to_dict(case, results))
            say(format_case(cases[-1], clients="connection"))
        latencies = [measure_latency(subject, pool) for subject in subjects]
        say(_format_latencies(latencies))
        calls = [count_calls(subject, pool, settings.large_bytes) for subject in subjects]
        say(_format_calls(calls))
    finally:
        for subject in subjects:
            subject.close()
    return {"cases": cases, "latencies": latencies, "calls_per_large_get": calls}


def _parsers() -> list[str]:
    try:
        import gunicorn_h1c  # type: ignore[import-not-found,import-untyped,unused-ignore]  # noqa: F401
    except ImportError:
        return ["python"]
    return ["fast", "python"]


def measure_latency(subject: HttpSubject, pool: Pool, *, requests: int = 200) -> dict[str, Any]:
    """Time small requests one after the other on one connection; stalls are above 35 ms."""
    puts, gets, handles = [], [], []
    for number in range(requests):
        start = time.perf_counter()
        handles.append(subject.put(pool.source(SMALL_BYTES, number=number), SMALL_BYTES))
        puts.append(time.perf_counter() - start)
    for handle in handles:
        start = time.perf_counter()
        subject.get(handle)
        gets.append(time.perf_counter() - start)
    for handle in handles:
        subject.delete(handle)
    return {"subject": subject.name, "put": _summary(puts), "get": _summary(gets)}


def _summary(times_s: Sequence[float]) -> dict[str, float]:
    return {
        "median_ms": statistics.median(times_s) * 1000,
        "p99_ms": statistics.quantiles(times_s, n=100)[98] * 1000,
        "above_35_ms": sum(time_s > STALL_S for time_s in times_s),
    }


def count_calls(subject: HttpSubject, pool: Pool, size_bytes: int) -> dict[str, Any]:
    """Return in how many calls the server sent one large object, and whether by sendfile.

    Source: proc(5), /proc/pid/io. Linux counts what sendfile moves as read and as written, what
    send moves not at all; so as many bytes written as the object has is sendfile.
    """
    handle = subject.put(pool.source(size_bytes), size_bytes)
    before_calls, before_written = _io_counts(subject.process.pid)
    subject.get(handle)
    calls, written = _io_counts(subject.process.pid)
    subject.delete(handle)
    return {
        "subject": subject.name,
        "size_bytes": size_bytes,
        "calls": calls - before_calls,
        "is_sendfile": written - before_written >= size_bytes,
    }


def _io_counts(group: int) -> tuple[int, int]:
    """Return the read and write calls, and the bytes written, by all processes of a group."""
    calls = written = 0
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            if os.getpgid(int(entry.name)) != group:
                continue
            lines = (entry / "io").read_text(encoding="ascii").splitlines()
        except OSError:  # gone meanwhile
            continue
        counts = dict(line.split(": ") for line in lines)
        calls += int(counts["syscr"]) + int(counts["syscw"])
        written += int(counts["wchar"])
    return calls, written


def _format_latencies(latencies: Sequence[dict[str, Any]]) -> str:
    rows = [["4 KiB, one connection", "put, median ms", "p99", "get, median ms", "p99", "> 35 ms"]]
    for found in latencies:
        put, get = found["put"], found["get"]
        rows.append(
            [
                found["subject"],
                f"{put['median_ms']:.2f}",
                f"{put['p99_ms']:.2f}",
                f"{get['median_ms']:.2f}",
                f"{get['p99_ms']:.2f}",
                str(put["above_35_ms"] + get["above_35_ms"]),
            ]
        )
    return format_rows(rows)


def _format_calls(calls: Sequence[dict[str, Any]]) -> str:
    rows = [["one large get", "read and write calls", "by sendfile"]]
    rows += [
        [found["subject"], str(found["calls"]), "yes" if found["is_sendfile"] else "NO"]
        for found in calls
    ]
    return format_rows(rows)
