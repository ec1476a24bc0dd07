"""kill -9 at every step of put, delete, collect and compact; and of four processes at once.

The processes are forked, so that a test of fifty takes a second.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import sqlite3
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from modules.conformance import ModuleSpec
from modules.errors import StorageError
from modules.wrappers.dedup.database import Database
from tests.conformance.memory import directory_in_memory
from tests.wrappers.deduplicated import NOW, Vault, noise

SIZE = 40_000


@pytest.fixture
def directory() -> Iterator[Path]:
    with directory_in_memory() as path:
        yield Path(path)


def simple(directory: Path) -> Vault:
    return Vault(directory)


def volume(directory: Path) -> Vault:
    leaf = ModuleSpec("zfsstore.ZFSStorage", {"directory": str(directory / "store")})
    return Vault(directory, leaf)


def content(number: int) -> bytes:
    """Return contents of which each shares a half with its neighbours."""
    return noise(number, SIZE) + noise(number + 1, SIZE)


class Log:
    """What a process did, for those who outlive it: one line each, written at once."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def add(self, *words: object) -> None:
        os.write(self.fd, (" ".join(map(str, words)) + "\n").encode())


class Killer:
    """Kills its process right after the change with a number; before it is after the last one."""

    def __init__(self, vault: Vault, at: int) -> None:
        self.left = at
        inner = vault.inner
        for name in ("put", "delete"):
            setattr(inner, name, self.around(getattr(inner, name)))
        Database._write = self.around(Database._write)  # type: ignore[method-assign]

    def around(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*args: Any, **options: Any) -> Any:
            result = call(*args, **options)
            self.step()
            return result

        return wrapped

    def step(self) -> None:
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)


def forked(action: Callable[[], None]) -> int:
    """Run *action* in a process of its own; return its id."""
    pid = os.fork()
    if pid:
        return pid
    try:
        action()
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def scenario(vault: Vault, log: Log) -> None:
    """Put, delete, collect, compact, each of it more than once."""

    def put(number: int) -> str:
        stored = vault.put(content(number))
        log.add("put", stored, number)
        return stored

    def delete(stored: str) -> None:
        log.add("deleting", stored)
        vault.delete(stored)
        log.add("deleted", stored)

    stored = [put(number) for number in range(3)]
    delete(stored[0])
    vault.module.collect({}, grace=NOW)
    stored.append(put(0))
    delete(stored[1])
    vault.module.collect({}, grace=NOW)
    vault.module.compact({})
    vault.module.collect({}, grace=NOW)
    stored.append(put(1))


def check(vault: Vault, logs: list[Path]) -> None:
    """Fail unless all that was acknowledged is there, and all counts are exact."""
    lines = [line.split() for path in logs for line in path.read_text().splitlines()]
    there = {words[1]: int(words[2]) for words in lines if words[0] == "put"}
    maybe = {words[1] for words in lines if words[0] == "deleting"}
    gone = {words[1] for words in lines if words[0] == "deleted"}
    for stored, number in there.items():
        if stored not in maybe:
            assert content(number) == vault.get(stored)
    assert not any(vault.module.available({}, stored) for stored in gone)
    (database,) = vault.directory.rglob("dedup.db")
    with contextlib.closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("UPDATE session SET lease_until = 0")
    vault.collect()
    report = vault.module.fsck({}, level=3)
    assert report.is_clean, report.problems
    for stored, number in there.items():
        if stored not in maybe:
            assert content(number) == vault.get(stored)


@pytest.mark.parametrize(
    ("make", "stride"),
    [
        (simple, 7),
        pytest.param(simple, 1, marks=pytest.mark.slow),
        pytest.param(volume, 1, marks=pytest.mark.slow),
    ],
)
def test_killed_at_every_step(directory: Path, make: Callable[[Path], Vault], stride: int) -> None:
    step, is_over = 0, False
    while not is_over:
        step += stride
        place = directory / str(step)
        place.mkdir()

        def run(place: Path = place, step: int = step) -> None:
            vault = make(place)
            Killer(vault, step)
            scenario(vault, Log(place / "log"))

        _, status = os.waitpid(forked(run), 0)
        is_over = os.WIFEXITED(status)
        assert is_over or os.WTERMSIG(status) == signal.SIGKILL
        assert not is_over or os.WEXITSTATUS(status) == 0
        log = place / "log"
        log.touch()
        vault = make(place)
        vault.put(content(50))  # there is an index at least
        check(vault, [log])
        vault.module._indexes.close()
    assert step > 30


def test_four_processes_at_once_some_of_them_killed(directory: Path) -> None:
    volume(directory).put(b"there is an index")
    logs = [directory / f"log {number}" for number in range(8)]
    rng = random.Random(7)
    running: dict[int, int] = {}
    for log in logs:
        log.touch()
    for round_ in range(2):
        for number in range(4):
            log = logs[round_ * 4 + number]

            def run(log: Path = log, seed: int = round_ * 4 + number) -> None:
                work(volume(directory), Log(log), random.Random(seed))

            running[forked(run)] = number
        wait_for_lines(logs[round_ * 4])
        for pid in list(running)[: 2 if round_ == 0 else 0]:
            time.sleep(rng.random() / 50)
            os.kill(pid, signal.SIGKILL)
        for pid in list(running):
            _, status = os.waitpid(pid, 0)
            assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
            del running[pid]
    check(volume(directory), logs)


def wait_for_lines(log: Path) -> None:
    """Return when a process has done something; or has had 20 seconds for it."""
    for _ in range(2000):
        if log.stat().st_size:
            return
        time.sleep(0.01)


def work(vault: Vault, log: Log, rng: random.Random) -> None:
    """Put, delete, collect and compact what others do, too."""
    mine: list[str] = []
    for _ in range(12):
        match rng.randrange(6):
            case 0 if mine:
                stored = mine.pop(rng.randrange(len(mine)))
                log.add("deleting", stored)
                vault.delete(stored)
                log.add("deleted", stored)
            case 1:
                vault.module.collect({}, grace=NOW)
            case 2:
                with contextlib.suppress(StorageError):  # another emptied and collected its pack
                    vault.module.compact({})
            case _:
                number = rng.randrange(6)
                stored = vault.put(content(number))
                log.add("put", stored, number)
                mine.append(stored)
