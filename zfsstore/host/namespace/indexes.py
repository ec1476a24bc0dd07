"""The open indexes of a process: least recently used ones are closed, used ones never.

Closing what is idle frees descriptors (a thousand buckets, three each) and lets a volume be
unmounted. Operations that are unsafe under open files (rollback, rename, receive) will hook in at
``lease``, which is where a shared lock on the volume's fence is to be taken and its generation
compared.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from zfsstore.host.namespace.database import Database
from zfsstore.host.namespace.index import Index
from zfsstore.host.namespace.opening import open_shared
from zfsstore.host.namespace.sqlite import Identity, VolumeDatabase, directory_identity
from zfsstore.host.namespace.store import Store

_Key = tuple[str, Identity]
"""A state directory by path and by what it is: another volume may take over the path."""

_abandoned: Final[list[object]] = []
"""Connections that a fork copied. Closing them here would drop the parent's file locks."""


@dataclass(slots=True)
class _Entry:
    """An open store, or one being opened."""

    store: Store | None = None
    label: str = ""
    users: int = 0
    used_at: float = 0.0
    opening: threading.Lock = field(default_factory=threading.Lock)


class Indexes:
    """Hands out open indexes; opens what is missing. Safe for threads, and after a fork.

    Args:
        database_url: the shared database, for modules that keep no state of their own.
        limit: how many volumes' indexes stay open when nobody uses them.
        clock: seconds, for idle times.
    """

    def __init__(
        self,
        database_url: str,
        *,
        limit: int = 64,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._shared_database = open_shared(database_url)
        self._limit = limit
        self._clock = clock
        self._reset()
        _instances.add(self)

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._entries: OrderedDict[_Key, _Entry] = OrderedDict()
        self._shared = _Entry()

    @contextmanager
    def lease(self, state_dir: Path, label: str) -> Iterator[Index]:
        """Give the index of the volume whose state directory this is.

        Args:
            label: what ``leases`` calls it: "acme/photos".

        Raises:
            Unavailable: the directory is not there.
        """
        key = _key(state_dir)
        entry = self._use(key)
        entry.label = label
        try:
            yield Index(self._opened(entry, lambda: VolumeDatabase(state_dir, key[1])))
        finally:
            self._release(entry)

    @contextmanager
    def lease_shared(self) -> Iterator[Store]:
        """Give the shared database; it stays open until ``close``."""
        yield self._opened(self._shared, lambda: self._shared_database)

    def leases(self) -> Iterator[tuple[str, Index]]:
        """Yield label and index of every open volume, one after the other; for upkeep."""
        with self._lock:
            keys = list(self._entries)
        for key in keys:
            with self._lock:
                entry = self._entries.get(key)
                if entry is None or entry.store is None:
                    continue
                entry.users += 1
                used_at = entry.used_at
            try:
                yield entry.label, Index(entry.store)
            finally:
                with self._lock:
                    entry.users -= 1
                    entry.used_at = max(entry.used_at, used_at)

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
        limit = self._clock() - idle_s
        with self._lock:
            idle = [k for k, e in self._entries.items() if not e.users and e.used_at <= limit]
            entries = [self._entries.pop(key) for key in idle]
        _close(entries)
        return len(entries)

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
            self._shared = _Entry()
        _close(entries)

    def _use(self, key: _Key) -> _Entry:
        with self._lock:
            entry = self._entries.get(key)
            if entry is None:
                entry = self._entries[key] = _Entry()
            else:
                self._entries.move_to_end(key)
            entry.users += 1
        return entry

    def _release(self, entry: _Entry) -> None:
        with self._lock:
            entry.users -= 1
            entry.used_at = self._clock()
            surplus = self._surplus()
        _close(surplus)

    def _surplus(self) -> list[_Entry]:
        """Take out the least recently used entries above the limit that nobody uses."""
        excess = len(self._entries) - self._limit
        if excess <= 0:
            return []
        idle = [key for key, entry in self._entries.items() if not entry.users]
        return [self._entries.pop(key) for key in idle[:excess]]

    def _opened(self, entry: _Entry, database: Callable[[], Database]) -> Store:
        """Return the entry's store; the first to come opens it, without holding up others."""
        if entry.store is None:
            with entry.opening:
                if entry.store is None:
                    entry.store = Store(database())
        return entry.store

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


def _close(entries: list[_Entry]) -> None:
    for entry in entries:
        if entry.store is not None:
            entry.store.close()
