"""The judge of crashes sees what it must see: it is tried on stores that are spoilt on purpose."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tools.powercut.clients import Client
from tools.powercut.judge import Verdict, judge
from tools.powercut.load import format_ack, parse_ack, run_client
from tools.powercut.stores import BUCKET, TENANT, ServiceStore, Site, index_file

STEPS = 40


class Loaded:
    """A store on a directory that one client has written to."""

    def __init__(self, folder: Path) -> None:
        self.site = Site(str(folder / "names.db"), directory=str(folder / "store"))
        self.site.create()
        self.before = Client("a seed", "w0")
        self.after = self.before.copy()
        self.lines: list[str] = []
        with self.site.service() as service:
            run_client(ServiceStore(service), self.after, self.lines.append, steps=STEPS)
        self.objects = folder / f"store/{TENANT.name}/{BUCKET}/.zfsstore/objects/main"

    def judge(self, acknowledged: int = STEPS) -> Verdict:
        return judge(self.site, [self.before], {"w0": acknowledged})

    def largest_file(self) -> Path:
        return max(self.objects.glob("*/*"), key=lambda path: path.stat().st_size)


@pytest.fixture(scope="module")
def unspoilt(tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    """One for all that only look: making a store takes longer than judging it."""
    return Loaded(tmp_path_factory.mktemp("unspoilt"))


@pytest.fixture
def loaded(tmp_path: Path) -> Loaded:
    """One to spoil."""
    return Loaded(tmp_path)


def test_a_store_that_lost_nothing_is_good(unspoilt: Loaded) -> None:
    verdict = unspoilt.judge()

    assert [] == verdict.problems
    assert (0, 0, 0) == (verdict.lost, verdict.unannounced, verdict.unreferenced)
    assert unspoilt.after.state == verdict.clients["w0"].state
    assert verdict.objects == sum(not key.endswith("/") for key in unspoilt.after.state) > 5


def test_each_step_is_acknowledged_in_its_turn(unspoilt: Loaded) -> None:
    assert [("w0", number) for number in range(1, STEPS + 1)] == list(
        map(parse_ack, unspoilt.lines)
    )


def test_a_torn_acknowledgement_is_none() -> None:
    line = format_ack("w0", 12)

    assert [None] * len(line) == [parse_ack(line[:end]) for end in range(len(line))]


def test_steps_whose_acknowledgement_did_not_arrive_are_good(unspoilt: Loaded) -> None:
    verdict = unspoilt.judge(STEPS - 3)

    assert [] == verdict.problems
    assert (0, 3) == (verdict.lost, verdict.unannounced)


def test_acknowledged_steps_that_are_not_there_are_lost(unspoilt: Loaded) -> None:
    verdict = unspoilt.judge(STEPS + 5)

    assert ([], 5) == (verdict.problems, verdict.lost)


def test_a_missing_file_is_seen(loaded: Loaded) -> None:
    loaded.largest_file().unlink()

    assert any("missing" in problem for problem in loaded.judge().problems)


def test_a_torn_file_is_seen(loaded: Loaded) -> None:
    path = loaded.largest_file()
    path.chmod(0o600)
    os.truncate(path, path.stat().st_size // 2)

    assert any("bytes that are not those of step" in text for text in loaded.judge().problems)


def test_a_key_that_nobody_wrote_is_seen(loaded: Loaded) -> None:
    with loaded.site.service() as service:
        ServiceStore(service).put("stray", b"x", 1)

    assert ["a key that nobody wrote: stray"] == loaded.judge().problems


def test_an_older_object_under_a_key_is_seen(loaded: Loaded) -> None:
    key = next(k for k in sorted(loaded.after.state) if not k.endswith("/"))
    with loaded.site.service() as service:
        ServiceStore(service).put(key, loaded.before.content(1), 1)

    assert any(f"{key}: " in problem for problem in loaded.judge().problems)


def test_wrong_counts_in_the_index_are_seen(loaded: Loaded) -> None:
    with closing(sqlite3.connect(index_file(loaded.site.storage(), BUCKET))) as connection:
        connection.execute("UPDATE bucket SET key_count = key_count + 1")
        connection.commit()

    assert any("counts other keys" in problem for problem in loaded.judge().problems)


def test_unreferenced_files_are_counted_and_no_problem(loaded: Loaded) -> None:
    path = loaded.largest_file()
    (path.parent / (path.name[:2] + "f" * 30)).write_bytes(b"half an obj")

    verdict = loaded.judge()
    assert ([], 1) == (verdict.problems, verdict.unreferenced)
