"""The open indexes of a process: least recently used ones are closed, used ones never.

Closing what is idle frees descriptors (a thousand buckets, three each) and lets a volume be
unmounted. While an index is open its entry holds the volume's fence (modules.fences): whoever
rolls the volume back, renames it or moves it away waits until the last user of a draining entry
has closed it, and until then nobody new gets in.

An index in a snapshot is open for a second or so only: it keeps the snapshot from being destroyed.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from modules.state import Identity, directory_identity
from zfsstore.host.namespace.database import Database
from zfsstore.host.namespace.entries import Entry
from zfsstore.host.namespace.index import Index
from zfsstore.host.namespace.opening import open_shared
from zfsstore.host.namespace.snapshots import SnapshotDatabase, WalCopies
from zfsstore.host.namespace.sqlite import VolumeDatabase
from zfsstore.host.namespace.store import Store

SNAPSHOT_IDLE_S: Final = 1.0

_Key = tuple[str, Identity]
"""A state directory by path and by what it is: another volume may take over the path."""

_NO_IDENTITY: Final = (0, 0)

_abandoned: Final[list[object]] = []
"""Connections that a fork copied. Closing them here would drop the parent's file locks."""


class Indexes:
    """Hands out open indexes; opens what is missing. Safe for threads, and after a fork.

    Args:
        database_url: the shared database, for modules that keep no state of their own.
        cache_dir: for what has to be copied out of snapshots to be read; created when needed.
        limit: how many volumes' indexes stay open when nobody uses them.
        clock: seconds, for idle times.
    """

    def __init__(
        self,
        database_url: str,
        *,
        cache_dir: Path,
        limit: int = 64,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._shared_database = open_shared(database_url)
        self._copies = WalCopies(cache_dir)
        self._limit = limit
        self._clock = clock
        self._reset()
        _instances.add(self)

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._entries: OrderedDict[_Key, Entry] = OrderedDict()
        self._shared = Entry()

    @contextmanager
    def lease(
        self,
        state_dir: Path,
        label: str,
        *,
        fence: Path | None = None,
        is_replica: Callable[[], bool] = lambda: False,
    ) -> Iterator[Index]:
        """Give the index of the volume whose state directory this is.

        Args:
            label: what ``leases`` calls it: "acme/photos".
            fence: the volume's, held for as long as the index is open.
            is_replica: asked when it is opened: may it only be read?

        Raises:
            Unavailable: the directory is not there.
            Busy: somebody is alone in the volume, or waits to be.
        """
        key = _key(state_dir)
        with self._used(key, label, None) as entry:
            store = entry.open(lambda: self._database(state_dir, key[1], is_replica), fence)
            if entry.hold is not None:
                entry.hold.check()
            yield Index(store)

    @contextmanager
    def lease_snapshot(self, state_dir: Path) -> Iterator[Index]:
        """Give the index in a snapshot, whose state directory this is; for reading only.

        Raises:
            SnapshotNotFound: the volume was not complete when it was taken.
            NotSupported: a newer release wrote it.
        """
        copy = self._copies.path_for(state_dir)  # another for another snapshot of the same name
        with self._used((str(copy), _NO_IDENTITY), "", SNAPSHOT_IDLE_S) as entry:
            yield Index(entry.open(lambda: SnapshotDatabase(state_dir, copy)))

    @contextmanager
    def lease_shared(self) -> Iterator[Store]:
        """Give the shared database; it stays open until ``close``."""
        yield self._shared.open(lambda: self._shared_database)

    def leases(self) -> Iterator[tuple[str, Index]]:
        """Yield label and index of every open volume, one after the other; for upkeep."""
        with self._lock:
            keys = list(self._entries)
        for key in keys:
            with self._lock:
                entry = self._entries.get(key)
                if entry is None or not entry.is_of_interest:
                    continue
                entry.users += 1
                store, used_at = entry.store, entry.used_at
                assert store is not None  # or it were of no interest
            try:
                yield entry.label, Index(store)
            finally:
                self._release(key, entry, used_at)

    def shared_buckets(self) -> Iterator[tuple[str, Index]]:
        """Yield label and index of every bucket in the shared database, if that is open."""
        store = self._shared.store
        if store is None:
            return
        with store.readers.borrow() as connection:
            rows = connection.execute(store.sql.all_buckets).fetchall()
        for bucket_id, tenant, name in rows:
            yield f"{bytes(tenant).decode()}/{bytes(name).decode()}", Index(store, bucket_id)

    def is_open(self, state_dir: Path) -> bool:
        """Return whether the index of this volume is open in this process."""
        with self._lock:
            return _key(state_dir) in self._entries

    def close_idle(self, idle_s: float = 0.0) -> int:
        """Close what nobody has used for *idle_s* seconds; return how many that were."""
        now = self._clock()
        return self._close_unused(lambda entry: entry.used_at <= now - idle_s)

    def close_urgent(self) -> int:
        """Close what nobody uses and others wait for: draining volumes, snapshots left open.

        Cheap; a few times a second.
        """
        now = self._clock()
        return self._close_unused(
            lambda entry: (
                entry.is_draining
                or (entry.idle_s is not None and entry.used_at <= now - entry.idle_s)
            )
        )

    def remove_copies(self) -> None:
        """Remove what was copied out of snapshots and has not been read for a while."""
        self._copies.clean()

    def close_volume(self, state_dir: Path) -> bool:
        """Close one volume's index; return False when it is in use just now."""
        key = _key(state_dir)
        with self._lock:
            entry = self._entries.get(key)
            if entry is None:
                return True
            if entry.users:
                return False
            del self._entries[key]
        _close([entry])
        return True

    def close(self) -> None:
        """Close everything, after what is queued; nobody may be using any of it."""
        with self._lock:
            entries = [*self._entries.values(), self._shared]
            self._entries.clear()
            self._shared = Entry()
        _close(entries)

    def _database(
        self, state_dir: Path, identity: Identity, is_replica: Callable[[], bool]
    ) -> Database:
        if is_replica():
            return SnapshotDatabase(state_dir, self._copies.path_for(state_dir))
        return VolumeDatabase(state_dir, identity)

    @contextmanager
    def _used(self, key: _Key, label: str, idle_s: float | None) -> Iterator[Entry]:
        with self._lock:
            entry = self._entries.get(key)
            if entry is None:
                entry = self._entries[key] = Entry(label, idle_s)
            else:
                self._entries.move_to_end(key)
            entry.users += 1
        try:
            yield entry
        finally:
            self._release(key, entry, None)

    def _release(self, key: _Key, entry: Entry, used_at: float | None) -> None:
        with self._lock:
            entry.users -= 1
            entry.used_at = max(entry.used_at, self._clock() if used_at is None else used_at)
            closing = self._surplus()
            is_done = not entry.users and (entry.is_draining or entry.store is None)
            if is_done and self._entries.get(key) is entry:
                del self._entries[key]
                closing.append(entry)
        _close(closing)

    def _close_unused(self, is_due: Callable[[Entry], bool]) -> int:
        with self._lock:
            due = [k for k, entry in self._entries.items() if not entry.users and is_due(entry)]
            entries = [self._entries.pop(key) for key in due]
        _close(entries)
        return len(entries)

    def _surplus(self) -> list[Entry]:
        """Take out the least recently used entries above the limit that nobody uses."""
        excess = len(self._entries) - self._limit
        if excess <= 0:
            return []
        idle = [key for key, entry in self._entries.items() if not entry.users]
        return [self._entries.pop(key) for key in idle[:excess]]

    def _after_fork(self) -> None:
        for entry in (*self._entries.values(), self._shared):
            if entry.store is not None:
                _abandoned.append(entry.store)
        self._reset()


_instances: Final[weakref.WeakSet[Indexes]] = weakref.WeakSet()


def _reset_all() -> None:
    for indexes in list(_instances):
        indexes._after_fork()


os.register_at_fork(after_in_child=_reset_all)


def _key(state_dir: Path) -> _Key:
    return str(state_dir), directory_identity(state_dir)


def _close(entries: list[Entry]) -> None:
    for entry in entries:
        entry.close()
