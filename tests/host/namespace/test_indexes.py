from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from modules.errors import ConfigurationError, Unavailable
from zfsstore.host.namespace.indexes import Indexes
from zfsstore.host.namespace.records import Draft

MakeDraft = Callable[..., Draft]


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def indexes(tmp_path: Path, clock: Clock) -> Iterator[Indexes]:
    opened = Indexes(
        f"sqlite:///{tmp_path}/shared.db", cache_dir=tmp_path / "cache", limit=3, clock=clock
    )
    yield opened
    opened.close()


@pytest.fixture
def volumes(tmp_path: Path) -> list[Path]:
    directories = [tmp_path / f"volume-{number}" for number in range(6)]
    for directory in directories:
        directory.mkdir()
    return directories


def open_files(directory: Path) -> int:
    links = [f"/proc/self/fd/{fd}" for fd in os.listdir("/proc/self/fd")]
    return sum(os.path.realpath(link).startswith(f"{directory}/") for link in links)


def test_the_least_recently_used_are_closed(indexes: Indexes, volumes: list[Path]) -> None:
    for directory in (*volumes[:3], volumes[0], *volumes[3:5]):
        with indexes.lease(directory, "a/b") as index:
            index.info()
    assert [True, False, False, True, True] == [indexes.is_open(v) for v in volumes[:5]]
    assert 0 == open_files(volumes[1])
    assert open_files(volumes[0]) > 0


def test_one_in_use_is_never_closed(
    indexes: Indexes, volumes: list[Path], draft: MakeDraft
) -> None:
    with indexes.lease(volumes[0], "a/b") as index:
        for directory in volumes[1:]:
            with indexes.lease(directory, "a/b") as other:
                other.info()
        assert not indexes.close_volume(volumes[0])
        indexes.close_idle()
        index.put("k", draft())
        assert index.get("k") is not None
    assert indexes.close_volume(volumes[0])
    assert not indexes.is_open(volumes[0])
    assert 0 == open_files(volumes[0])


def test_idle_ones_are_closed(indexes: Indexes, volumes: list[Path], clock: Clock) -> None:
    for number in range(2):
        clock.now = number * 10.0
        with indexes.lease(volumes[number], "a/b") as index:
            index.info()
    clock.now = 15.0
    assert 1 == indexes.close_idle(10.0)
    assert [False, True] == [indexes.is_open(v) for v in volumes[:2]]


def test_upkeep_does_not_keep_an_index_open(
    indexes: Indexes, volumes: list[Path], clock: Clock
) -> None:
    with indexes.lease(volumes[0], "a/b") as index:
        index.info()
    clock.now = 60.0
    assert ["a/b"] == [label for label, _ in indexes.leases()]
    assert 1 == indexes.close_idle(60.0)


def test_a_new_volume_under_an_old_path(
    indexes: Indexes, volumes: list[Path], draft: MakeDraft
) -> None:
    moved = volumes[0].with_name("moved")
    with indexes.lease(volumes[0], "a/b") as old:
        old.put("old", draft())
        volumes[0].rename(moved)
        volumes[0].mkdir()
        with indexes.lease(volumes[0], "a/b") as new:
            new.put("new", draft())
            assert ["new"] == [item.key for item in new.list_keys().items]
        with pytest.raises(Unavailable, match="taken its place"):
            old.get("new")  # its first reader: never the other volume's rows
    with indexes.lease(moved, "a/c") as index:
        assert ["old"] == [item.key for item in index.list_keys().items]


def test_a_directory_that_is_not_there(indexes: Indexes, tmp_path: Path) -> None:
    with (
        pytest.raises(Unavailable, match="mounted"),
        indexes.lease(tmp_path / "absent", "a/b"),
    ):
        pass


def test_many_threads_open_each_once(
    indexes: Indexes, volumes: list[Path], draft: MakeDraft
) -> None:
    errors: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for step in range(30):
                with indexes.lease(volumes[(number + step) % 6], "a/b") as index:
                    index.put(f"{number}/{step}", draft())
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [] == errors
    total = 0
    for directory in volumes:
        with indexes.lease(directory, "a/b") as index:
            total += index.info().key_count
    assert 8 * 30 == total


def test_a_forked_child_opens_its_own(
    indexes: Indexes, volumes: list[Path], draft: MakeDraft
) -> None:
    with indexes.lease(volumes[0], "a/b") as index:
        index.put("parent", draft())
    with indexes.lease_shared() as store:
        store.database.connect().close()
    pid = os.fork()
    if pid == 0:
        try:
            with indexes.lease(volumes[0], "a/b") as index:
                index.put("child", draft())
                status = 0 if index.get("parent") else 2
            indexes.close()
            os._exit(status)
        finally:
            os._exit(1)
    assert 0 == os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    with indexes.lease(volumes[0], "a/b") as index:
        index.put("parent again", draft())
        assert 3 == index.info().key_count
    check = sqlite3.connect(volumes[0] / "index.db")
    assert ("ok",) == check.execute("PRAGMA integrity_check").fetchone()
    check.close()


@pytest.mark.parametrize("url", ["", "nonsense", "sqlite://", "sqlite:///:memory:", "mysql://x/y"])
def test_databases_that_are_refused(url: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Indexes(url, cache_dir=Path("unused"))
    assert "database_url" == caught.value.field
