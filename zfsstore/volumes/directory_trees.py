"""Trees of hard links, and databases copied whole: what snapshots of directories are made of.

Objects are immutable files, so a second name of one is a copy of it that takes no room. Where a
file has as many names as its file system allows (EMLINK), it is copied. Databases change in place:
they are copied with SQLite's backup API while they are in use. (Closing a plain copy's descriptor
would drop this process's locks on a database that it has open.)
"""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from itertools import zip_longest
from typing import Final
from urllib.parse import quote

from modules.durable import fsync_directory
from modules.errors import IntegrityError, NoSpace, StorageError, SubstrateError
from modules.state import BUSY_TIMEOUT_S
from zfsstore import layout

DATABASE_SUFFIX: Final = ".db"
_FIRST: Final = "index.db"
_FILE_CHANGES: Final = ((24, 28), (40, 44), (92, 100))
"""What SQLite counts up in a file's header by itself: source, sqlite.org/fileformat2.html."""


def objects_in(path: str) -> Iterator[tuple[str, str, list[str]]]:
    """Yield instance, leaf and the sorted names of the objects there, in that order.

    Args:
        path: of a volume, or of a snapshot.
    """
    objects = f"{path}/{layout.OBJECTS}"
    for instance in sorted(os.listdir(objects)):
        if layout.INSTANCE.fullmatch(instance):
            for leaf in layout.LEAVES:
                if names := object_names(f"{objects}/{instance}/{leaf}"):
                    yield instance, leaf, names


def object_names(leaf: str) -> list[str]:
    """Return the sorted names of the objects in a leaf directory; none when it is absent."""
    try:
        return sorted(filter(layout.OBJECT_ID.fullmatch, os.listdir(leaf)))
    except FileNotFoundError:
        return []


def link_objects(source: str, target: str) -> None:
    """Give all objects of the volume in *source* a name in *target*, too; durable on return.

    Objects that are deleted meanwhile are left out. Uploads in flight are no objects yet.

    Args:
        source, target: of volumes or snapshots; the target's objects directory exists.
    """
    objects = f"{target}/{layout.OBJECTS}"
    written = [objects]
    for instance, leaf, names in objects_in(source):
        parent = f"{objects}/{instance}"
        if parent not in written:
            written.append(parent)
        into = f"{parent}/{leaf}"
        os.makedirs(into, mode=0o755, exist_ok=True)
        for name in names:
            with suppress(FileNotFoundError):
                link(f"{source}/{layout.OBJECTS}/{instance}/{leaf}/{name}", f"{into}/{name}")
        written.append(into)
    for directory in written:
        fsync_directory(directory)


def link(source: str, target: str) -> None:
    """Give a file a second name, or copy it durably when it has too many; not the entry."""
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno != errno.EMLINK:
            raise
        shutil.copy2(source, target)
        fsync_file(target)


def fsync_file(path: str) -> None:
    """Make the content of a file durable."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def databases_in(state: str) -> list[str]:
    """Return the names of the databases in a state directory: the index first, then sorted."""
    with os.scandir(state) as entries:
        found = [
            entry.name
            for entry in entries
            if entry.name.endswith(DATABASE_SUFFIX) and entry.is_file(follow_symlinks=False)
        ]
    return sorted(found, key=lambda name: (name != _FIRST, name))


def back_up_databases(source: str, target: str) -> int:
    """Copy the databases of a state directory, each as of one moment; return their bytes.

    While they are written to, from here or elsewhere. The copies have no WAL; durable on return.

    Raises:
        IntegrityError: one is damaged.
        NoSpace: the copy does not fit.
    """
    total = 0
    for name in databases_in(source):
        total += back_up_database(f"{source}/{name}", f"{target}/{name}")
    fsync_directory(target)
    return total


def back_up_database(source: str, target: str) -> int:
    """Copy one database into a new file as of one moment, durably; return its bytes."""
    uri = f"file:{quote(source)}?mode=rw"
    try:
        with (
            closing(sqlite3.connect(uri, uri=True, timeout=BUSY_TIMEOUT_S)) as live,
            closing(sqlite3.connect(target, isolation_level=None)) as copy,
        ):
            copy.execute("PRAGMA journal_mode=OFF")
            copy.execute("PRAGMA synchronous=OFF")  # flushed below, once
            live.backup(copy)
    except sqlite3.Error as error:
        raise _database_error(error, os.path.basename(source)) from error
    fsync_file(target)
    return os.stat(target).st_size


def copy_databases(source: str, target: str) -> int:
    """Copy databases that nobody writes to, of a snapshot, durably; return their bytes."""
    total = 0
    for name in databases_in(source):
        shutil.copyfile(f"{source}/{name}", f"{target}/{name}")
        fsync_file(f"{target}/{name}")
        total += os.stat(f"{target}/{name}").st_size
    fsync_directory(target)
    return total


def make_live(snapshot: str, target: str, instance: str) -> None:
    """Create in the new directory *target* a volume with a snapshot's content, but volume.json.

    Durable on return, but the entry of *target* itself.
    """
    layout.create_layout(target, instance=instance)
    link_objects(snapshot, target)
    copy_databases(f"{snapshot}/{layout.STATE}", f"{target}/{layout.STATE}")


def is_unchanged(volume: str, snapshot: str, work: str) -> bool:
    """Return whether a volume that nobody uses holds what its snapshot holds.

    Args:
        work: an existing directory, for a copy of each database.
    """
    pairs = zip_longest(objects_in(volume), objects_in(snapshot))
    if any(live != kept for live, kept in pairs):
        return False
    live, kept = f"{volume}/{layout.STATE}", f"{snapshot}/{layout.STATE}"
    if databases_in(live) != databases_in(kept):
        return False
    return all(_is_same_database(f"{live}/{n}", f"{kept}/{n}", work) for n in databases_in(live))


def _is_same_database(live: str, kept: str, work: str) -> bool:
    copy = f"{work}/compared.db"
    back_up_database(live, copy)
    try:
        with open(copy, "rb") as ours, open(kept, "rb") as theirs:
            first = [bytearray(file.read(100)) for file in (ours, theirs)]
            for start, end in _FILE_CHANGES:
                for header in first:
                    header[start:end] = bytes(end - start)
            if first[0] != first[1]:
                return False
            while block := ours.read(1 << 20):
                if block != theirs.read(1 << 20):
                    return False
            return not theirs.read(1)
    finally:
        os.unlink(copy)


@dataclass(frozen=True, slots=True)
class DiskUsage:
    """What a tree takes on disk, in bytes, and what its removal would give back."""

    used_bytes: int
    own_bytes: int


def disk_usage(path: str) -> DiskUsage:
    """Return what the tree takes; a file with several names in it counts once.

    What has names elsewhere, too (in clones), counts to ``used_bytes`` only.
    """
    used = own = 0
    linked: dict[tuple[int, int], int] = {}
    for directory, _directories, names in os.walk(path):
        for name in [".", *names]:
            with suppress(FileNotFoundError):
                stat = os.lstat(f"{directory}/{name}")
                taken, identity = stat.st_blocks * 512, (stat.st_dev, stat.st_ino)
                if name == "." or stat.st_nlink == 1:
                    used, own = used + taken, own + taken
                    continue
                left = linked.get(identity, stat.st_nlink)
                used += taken if identity not in linked else 0
                own += taken if left == 1 else 0
                linked[identity] = left - 1
    return DiskUsage(used, own)


def give_to_owner(tree: str, like: str) -> None:
    """What root built (an operator's command) must be the host's user's: *like*'s owner's."""
    if os.geteuid() != 0:
        return
    owner = os.stat(like)
    if owner.st_uid == 0:
        return
    for directory, _directories, names in os.walk(tree):
        for name in [".", *names]:
            path = f"{directory}/{name}"
            if os.lstat(path).st_uid == 0:
                os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)


def _database_error(error: sqlite3.Error, name: str) -> StorageError:
    code = (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF
    kind: type[StorageError] = SubstrateError
    hint = "look at the host's log and the disk"
    if code == sqlite3.SQLITE_FULL:
        kind, hint = NoSpace, "free space in the file system"
    elif code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        kind, hint = IntegrityError, "check it with PRAGMA integrity_check"
    return kind(str(error), operation="copy database", subject=name, hint=hint)
