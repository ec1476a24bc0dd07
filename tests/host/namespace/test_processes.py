"""One index, several processes; and what kill -9 leaves of it."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path

from zfsstore.host.namespace.index import Index
from zfsstore.host.namespace.sqlite import VolumeDatabase
from zfsstore.host.namespace.store import Store

COMMITTER = Path(__file__).with_name("committer.py")
ROOT = COMMITTER.parents[3]


def start(state_dir: Path, name: str, *, threads: int, count: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(COMMITTER), str(state_dir), name, str(threads), str(count)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT)},
    )


def check(state_dir: Path) -> None:
    """Check that the database is sound and its references add up."""
    connection = sqlite3.connect(state_dir / "index.db")

    def one(sql: str) -> object:
        return connection.execute(sql).fetchone()[0]

    assert "ok" == one("PRAGMA integrity_check")
    versions = one("SELECT count(*) FROM version WHERE place = 0")
    assert one("SELECT key_count FROM bucket") == versions
    assert one("SELECT size_bytes FROM bucket") == versions
    assert one("SELECT count(*) FROM extent") == versions
    assert one("SELECT count(*) FROM blob WHERE refs = 1") == versions
    assert 0 == one("SELECT count(*) FROM extent WHERE version NOT IN (SELECT id FROM version)")
    assert 0 == one("SELECT count(*) FROM extent WHERE blob NOT IN (SELECT id FROM blob)")
    connection.close()


def test_processes_and_threads_lose_and_double_nothing(state_dir: Path) -> None:
    processes = [start(state_dir, f"p{n}", threads=8, count=40) for n in range(4)]
    outputs = [process.communicate(timeout=100)[0].split() for process in processes]
    assert [0] * 4 == [process.returncode for process in processes]
    assert [8 * 40] * 4 == [len(output) for output in outputs]
    store = Store(VolumeDatabase(state_dir))
    index = Index(store)
    assert 4 * 8 * 40 + 10 == index.info().key_count
    assert 4 * 8 * 40 - 10 == len(list(index.pending()))
    found = {item.key for item in index.list_keys("p", limit=10_000).items}
    assert {key for output in outputs for key in output} == found
    store.close()
    check(state_dir)


def test_what_was_acknowledged_survives_kill_9(state_dir: Path) -> None:
    acknowledged: set[str] = set()
    for round_number in range(3):
        processes = [start(state_dir, f"r{round_number}p{n}", threads=4, count=0) for n in (0, 1)]
        for process in processes:
            assert process.stdout is not None
            for _ in range(60):
                acknowledged.add(process.stdout.readline().strip())
        for process in processes:
            process.kill()
        for process in processes:
            rest, _ = process.communicate()
            acknowledged |= {line for line in rest.split("\n")[:-1] if line}
        check(state_dir)
    store = Store(VolumeDatabase(state_dir))
    index = Index(store)
    found: set[str] = set()
    after = None
    while True:
        page = index.list_keys("r", after=after, limit=10_000)
        found |= {item.key for item in page.items}
        if (after := page.next_after) is None:
            break
    store.close()
    assert acknowledged <= found
    assert len(acknowledged) > 300
