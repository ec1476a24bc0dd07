"""The index in a snapshot of a volume, and what has to be copied out of snapshots to be read."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import sqlite3
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

from modules import state
from modules.errors import NotSupported, SnapshotNotFound
from zfsstore.host.namespace import schema
from zfsstore.host.namespace.sqlite import DATABASE_NAME, SqliteDatabase

MAX_COPIES: Final = 8
UNUSED_S: Final = 600.0
"""A copy that nobody has opened for so long is removed, the oldest of too many sooner."""

_YOUNG_S: Final = 60.0


class SnapshotDatabase(SqliteDatabase):
    """The index in a snapshot of a volume, or in a read-only replica.

    Args:
        directory: the state directory, in which nothing changes as long as this is open.
        copy: where a database goes that cannot be read where it is (WalCopies.path_for).
    """

    is_read_only = True

    def __init__(self, directory: Path, copy: Path) -> None:
        self.directory = directory
        self.name = f"{directory / DATABASE_NAME}.db"
        self._copy = copy
        self._lock = -1

    def prepare(self) -> None:
        if not os.path.exists(self.name):
            raise self._incomplete()
        self._lock = _lock_copy(self._copy)
        try:
            connection = self.connect()
            try:
                version = state.schema_version(connection)
            except sqlite3.Error as error:
                raise self.translate(error, "read snapshot") from error
            finally:
                connection.close()
            self._check_version(version)
            if self._lock < 0:  # it may have been made just now, too young to be removed
                self._lock = _lock_copy(self._copy)
        except BaseException:
            self.close()
            raise

    def connect(self) -> sqlite3.Connection:
        try:
            return state.open_snapshot_database(
                self.directory, DATABASE_NAME, cache_directory=self._copy
            )
        except sqlite3.Error as error:
            raise self.translate(error, "open index") from error

    def close(self) -> None:
        fd, self._lock = self._lock, -1
        if fd >= 0:
            os.close(fd)

    def _check_version(self, version: int) -> None:
        if version == 0:
            raise self._incomplete()
        if version > schema.SCHEMA_VERSION:
            raise NotSupported(
                f"its schema version is {version}, this release reads 1 to {schema.SCHEMA_VERSION}",
                capability="schema_version",
                operation="read snapshot",
                subject=self.name,
                hint="upgrade zfsstore on this host",
            )

    def _incomplete(self) -> SnapshotNotFound:
        return SnapshotNotFound(
            "it was taken before the bucket was complete", operation="read snapshot"
        )


class WalCopies:
    """A folder of copies, shared by the processes of a host, bounded in number and age.

    A copy is a folder of its own; whoever reads it holds a shared lock on that.
    """

    def __init__(self, root: Path) -> None:
        self._root = root

    def path_for(self, directory: Path) -> Path:
        """Return where the copy of the database in *directory* belongs.

        Named by where it is and by what its files are: a snapshot that is destroyed and made
        again under its old name is another one.
        """
        facts = [str(directory)]
        for name in (f"{DATABASE_NAME}.db", f"{DATABASE_NAME}.db-wal"):
            with suppress(OSError):
                found = os.stat(directory / name)
                facts += map(
                    str, (found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
                )
        return self._root / hashlib.sha256("\0".join(facts).encode()).hexdigest()[:32]

    def clean(self, *, now: float | None = None) -> int:
        """Remove what nobody has used for a while, and the oldest of too many; return how many."""
        moment = time.time() if now is None else now
        found = sorted(_ages(self._root, moment))
        due = [path for age, path in found if age > UNUSED_S]
        due += [path for age, path in found[MAX_COPIES:] if _YOUNG_S < age <= UNUSED_S]
        return sum(_remove(path) for path in due)


def _lock_copy(path: Path) -> int:
    """Return a descriptor that keeps a copy from being removed, -1 when there is no copy."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return -1
    with suppress(OSError):
        fcntl.flock(fd, fcntl.LOCK_SH)
        os.utime(fd)
    return fd


def _ages(root: Path, now: float) -> list[tuple[float, Path]]:
    found = []
    with suppress(FileNotFoundError):
        for entry in os.scandir(root):
            with suppress(FileNotFoundError):
                found.append((now - entry.stat().st_mtime, Path(entry.path)))
    return found


def _remove(path: Path) -> bool:
    """Remove a copy, unless somebody reads it."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(path, ignore_errors=True)
    except BlockingIOError:
        return False
    finally:
        os.close(fd)
    return True
