"""Databases in a volume: settings, snapshots of them, migrations, ballast."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from modules.errors import NotSupported, Unavailable
from modules.state import (
    BALLAST_BYTES,
    BALLAST_NAME,
    create_ballast,
    migrate,
    open_database,
    open_snapshot_database,
    release_ballast,
    schema_version,
)

ROWS = 500


@pytest.fixture
def live(tmp_path: Path) -> Path:
    """Return a state directory with a database of ROWS rows, closed."""
    directory = tmp_path / "live"
    directory.mkdir()
    connection = open_database(directory, "index")
    connection.execute("CREATE TABLE t (n INTEGER)")
    insert(connection, ROWS)
    connection.close()
    return directory


def insert(connection: sqlite3.Connection, count: int) -> None:
    connection.execute("BEGIN IMMEDIATE")
    connection.executemany("INSERT INTO t VALUES (?)", [(n,) for n in range(count)])
    connection.execute("COMMIT")


def count(connection: sqlite3.Connection) -> int:
    (number,) = connection.execute("SELECT count(*) FROM t").fetchone()
    return int(number)


def snapshot(directory: Path, *suffixes: str) -> Path:
    """Return a copy of some of the files, as a snapshot of a volume would hold them."""
    target = directory.parent / "snapshot"
    target.mkdir()
    for suffix in suffixes:
        shutil.copyfile(directory / f"index.db{suffix}", target / f"index.db{suffix}")
    return target


def test_every_commit_is_synced(live: Path) -> None:
    connection = open_database(live, "index")
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert connection.execute("PRAGMA synchronous").fetchone() == (2,)
    connection.close()


def test_database_of_an_absent_volume(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="is the volume mounted"):
        open_database(tmp_path / "absent", "index")


def test_commit_survives_a_kill(live: Path) -> None:
    script = f"""
import os, signal
from pathlib import Path
from modules.state import open_database
connection = open_database(Path({str(live)!r}), "index")
connection.execute("INSERT INTO t VALUES (1)")
connection.execute("BEGIN IMMEDIATE")
connection.execute("INSERT INTO t VALUES (2)")
os.kill(os.getpid(), signal.SIGKILL)
"""
    killed = subprocess.run([sys.executable, "-c", script], check=False, timeout=60)
    assert -signal.SIGKILL == killed.returncode
    connection = open_database(live, "index")
    assert ROWS + 1 == count(connection)
    connection.close()


def test_snapshot_of_a_closed_database(live: Path, tmp_path: Path) -> None:
    connection = open_snapshot_database(snapshot(live, ""), "index", cache_directory=tmp_path / "c")
    assert ROWS == count(connection)
    assert not (tmp_path / "c").exists()
    connection.close()


@pytest.mark.parametrize("suffixes", [("", "-wal", "-shm"), ("", "-wal")])
def test_snapshot_of_an_open_database_shows_what_is_in_its_log(
    live: Path, tmp_path: Path, suffixes: tuple[str, ...]
) -> None:
    writer = open_database(live, "index")
    insert(writer, 100)
    directory = snapshot(live, *suffixes)
    before = {path.name: path.read_bytes() for path in directory.iterdir()}
    for _ in range(2):  # the second time from the cache
        connection = open_snapshot_database(directory, "index", cache_directory=tmp_path / "cache")
        assert ROWS + 100 == count(connection)
        connection.close()
    assert (tmp_path / "cache").exists() == ("-shm" not in suffixes)
    files = ("index.db", "index.db-wal")
    assert all((directory / name).read_bytes() == before[name] for name in files)
    writer.close()


def test_snapshot_cannot_be_written(live: Path, tmp_path: Path) -> None:
    connection = open_snapshot_database(snapshot(live, ""), "index", cache_directory=tmp_path / "c")
    with pytest.raises(sqlite3.OperationalError):
        connection.execute("INSERT INTO t VALUES (1)")
    connection.close()


def test_directory_with_characters_of_a_uri(tmp_path: Path) -> None:
    directory = tmp_path / "a?b#c%20d"
    directory.mkdir()
    connection = open_database(directory, "index")
    connection.execute("CREATE TABLE t (n INTEGER)")
    connection.close()
    connection = open_snapshot_database(directory, "index", cache_directory=tmp_path / "c")
    assert 0 == count(connection)
    connection.close()
    assert {"index.db"} == {path.name for path in directory.iterdir()}


def create_t(connection: sqlite3.Connection) -> None:
    connection.execute("CREATE TABLE t (n INTEGER)")


def add_row(connection: sqlite3.Connection) -> None:
    connection.execute("INSERT INTO t VALUES (7)")


def test_migrations_run_once_each(tmp_path: Path) -> None:
    for _ in range(2):
        connection = open_database(tmp_path, "index")
        migrate(connection, [create_t, add_row], name="index")
        assert 2 == schema_version(connection)
        assert 1 == count(connection)
        connection.close()


def test_migration_by_many_at_once(tmp_path: Path) -> None:
    failures: list[BaseException] = []

    def start() -> None:
        try:
            connection = open_database(tmp_path, "index")
            migrate(connection, [create_t, add_row], name="index")
            connection.close()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=start) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [] == failures
    connection = open_database(tmp_path, "index")
    assert 1 == count(connection)
    connection.close()


def test_failed_migration_changes_nothing(tmp_path: Path) -> None:
    def fails(connection: sqlite3.Connection) -> None:
        add_row(connection)
        raise RuntimeError("no")

    connection = open_database(tmp_path, "index")
    with pytest.raises(RuntimeError):
        migrate(connection, [create_t, fails], name="index")
    assert 1 == schema_version(connection)
    assert 0 == count(connection)
    assert not connection.in_transaction
    connection.close()


def test_newer_schema_is_refused(tmp_path: Path) -> None:
    connection = open_database(tmp_path, "index")
    migrate(connection, [create_t, add_row], name="index")
    with pytest.raises(NotSupported, match="upgrade zfsstore"):
        migrate(connection, [create_t], name="index")
    assert 2 == schema_version(connection)
    connection.close()


def test_ballast_is_made_once_and_released_once(tmp_path: Path) -> None:
    assert not release_ballast(tmp_path)
    create_ballast(tmp_path)
    first = (tmp_path / BALLAST_NAME).read_bytes()
    assert BALLAST_BYTES == len(first)
    create_ballast(tmp_path)
    assert first == (tmp_path / BALLAST_NAME).read_bytes()
    assert release_ballast(tmp_path)
    assert not (tmp_path / BALLAST_NAME).exists()
    assert not release_ballast(tmp_path)
    create_ballast(tmp_path)
    assert BALLAST_BYTES == os.path.getsize(tmp_path / BALLAST_NAME)
