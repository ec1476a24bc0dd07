"""The open indexes of a process: used ones stay open, idle ones are closed.

While an index of a volume is open its entry holds the volume's fence (modules.fences). Whoever
waits to be alone in the volume keeps new users out; the keeper, a thread that runs while anything
is open, closes the entry as soon as nobody uses it.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from modules import fences
from modules.errors import NotSupported, Unavailable
from modules.wrappers.dedup.database import Database
from modules.wrappers.dedup.domain import Domain
from modules.wrappers.dedup.index import Index
from modules.wrappers.dedup.packs import Packer
from modules.wrappers.dedup.schema import DATABASE_NAME
from modules.wrappers.dedup.sqlite_database import SQLiteDatabase

IDLE_S: Final = 30.0
READ_ONLY_IDLE_S: Final = 1.0
"""An index in a snapshot keeps that from being destroyed."""

_POLL_S: Final = 0.05
_MAX_IDLE: Final = 64

_Key = tuple[str, int, int, bool]


@dataclass(frozen=True, slots=True)
class Remote:
    """An index in PostgreSQL, of packs in the module *inner*."""

    url: str = field(repr=False)
    key_domain: str
    inner: str


@dataclass(frozen=True, slots=True)
class Location:
    """Where an index is, and how it is to be opened.

    Attributes:
        place: its state directory, or where else it is.
        fence: the volume's, where it has one.
        is_read_only: in a snapshot or a replica.
        make_domain: gives the domain of a new index.
    """

    place: Path | Remote
    fence: Path | None
    is_read_only: bool
    make_domain: Callable[[], Domain]

    @property
    def directory(self) -> Path:
        """The state directory that holds the index.

        Raises:
            NotSupported: it is in PostgreSQL.
        """
        if isinstance(self.place, Path):
            return self.place
        raise NotSupported(
            "it lies in PostgreSQL, not in a file",
            capability="index file",
            operation="find index",
            hint="drop its schema to make it anew",
        )

    @property
    def has_index(self) -> bool:
        """False when there is none yet, as far as can be told without opening it."""
        return isinstance(self.place, Remote) or (self.place / f"{DATABASE_NAME}.db").exists()


@dataclass(slots=True)
class Opened:
    """An open index.

    Attributes:
        domain: None in a snapshot that was taken before anything was put; locked when its id key
            is wrapped: what is kept open holds no such key.
    """

    index: Index
    domain: Domain | None
    packer: Packer | None
    hold: fences.Hold | None

    def check(self) -> None:
        """Raise Busy when somebody waits to be alone in the volume."""
        if self.hold is not None:
            self.hold.check()


@dataclass(slots=True, eq=False)
class _Entry:
    opened: Opened | None = None
    users: int = 0
    used_at: float = 0.0
    opening: threading.Lock = field(default_factory=threading.Lock)

    @property
    def is_due(self) -> bool:
        """True when it should be closed as soon as nobody uses it."""
        if self.opened is None:
            return True
        if self.opened.hold is not None and self.opened.hold.is_draining:
            return True
        idle_s = READ_ONLY_IDLE_S if self.opened.index.database.is_read_only else IDLE_S
        return time.monotonic() - self.used_at > idle_s


class OpenIndexes:
    """Hands out open indexes. Safe for threads, and after a fork."""

    def __init__(self) -> None:
        self._reset()
        _instances.add(self)

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._entries: dict[_Key, _Entry] = {}
        self._keeper: threading.Thread | None = None

    @contextmanager
    def lease(self, location: Location) -> Iterator[Opened]:
        """Give the index at *location*, opened when it is not; it is made when there is none.

        Raises:
            Busy: somebody is alone in the volume, or waits to be.
            StorageError: it cannot be opened.
        """
        key = _key(location)
        with self._lock:
            entry = self._entries.setdefault(key, _Entry())
            entry.users += 1
        try:
            with entry.opening:
                if entry.opened is None:
                    entry.opened = _open(location)
            opened = entry.opened
            opened.check()
            yield opened
        finally:
            self._release(key, entry)

    def close_idle(self) -> int:
        """Close what nobody uses and is due; return how many stay open."""
        with self._lock:
            due = [k for k, entry in self._entries.items() if not entry.users and entry.is_due]
            entries = [self._entries.pop(key) for key in due]
            left = len(self._entries)
            if not left:
                self._keeper = None
        for entry in entries:
            _close(entry)
        return left

    def close_volume(self, location: Location) -> None:
        """Let go of what is known of one index; who uses it goes on with that."""
        key = _key(location)
        with self._lock:
            entry = self._entries.pop(key, None)
            is_idle = entry is not None and not entry.users
        if entry is not None and is_idle:
            _close(entry)

    def close(self) -> None:
        """Close everything; nobody may be using any of it."""
        with self._lock:
            entries = list(self._entries.values())
            self._entries.clear()
        for entry in entries:
            _close(entry)

    def __del__(self) -> None:
        """Let go of the volumes when the module is replaced: its keeper ends with it."""
        self.close()

    def _release(self, key: _Key, entry: _Entry) -> None:
        closing: list[_Entry] = []
        with self._lock:
            entry.users -= 1
            entry.used_at = time.monotonic()
            idle = [k for k, e in self._entries.items() if not e.users]
            is_known = self._entries.get(key) is entry
            if not entry.users and (not is_known or entry.is_due or len(idle) > _MAX_IDLE):
                if is_known:
                    del self._entries[key]
                closing.append(entry)
            elif self._keeper is None:
                self._keeper = threading.Thread(
                    target=_keep, args=(weakref.ref(self),), name="dedup-keeper", daemon=True
                )
                self._keeper.start()
        for done in closing:
            _close(done)

    def _after_fork(self) -> None:
        _abandoned.extend(self._entries.values())
        self._reset()


def _keep(reference: weakref.ref[OpenIndexes]) -> None:
    while True:
        time.sleep(_POLL_S)
        indexes = reference()
        if indexes is None or not indexes.close_idle():
            return
        del indexes


def _open(location: Location) -> Opened:
    with ExitStack() as undo:
        hold, generation = None, 0
        if location.fence is not None and not location.is_read_only:
            hold = undo.enter_context(fences.hold(location.fence))
            generation = fences.generation(location.fence)  # cannot change while it is held
        database = open_database(location)
        undo.callback(database.close)
        index = Index(database, lambda: generation)
        make = None if location.is_read_only else location.make_domain
        domain = index.domain(make)
        packer = None if location.is_read_only or domain is None else Packer(index, domain)
        undo.pop_all()
        return Opened(index, domain, packer, hold)


def open_database(location: Location) -> Database:
    """Open the database of an index, and nothing around it; close it.

    Raises:
        StorageError: it cannot be opened.
    """
    if isinstance(location.place, Path):
        return SQLiteDatabase(location.place, is_read_only=location.is_read_only)
    from modules.wrappers.dedup.postgresql_database import PostgreSQLDatabase

    place = location.place
    return PostgreSQLDatabase(place.url, place.key_domain, place.inner)


def _close(entry: _Entry) -> None:
    opened, entry.opened = entry.opened, None
    if opened is None:
        return
    try:
        opened.index.database.close()
    finally:
        if opened.hold is not None:
            opened.hold.release()


def _key(location: Location) -> _Key:
    if isinstance(location.place, Remote):
        return location.place.key_domain, 0, 0, location.is_read_only
    try:
        status = os.stat(location.place)
    except OSError as error:
        raise Unavailable(
            error.strerror or str(error),
            operation="open index",
            subject=str(location.place),
            hint="is the volume mounted?",
        ) from error
    return str(location.place), status.st_dev, status.st_ino, location.is_read_only


_instances: Final[weakref.WeakSet[OpenIndexes]] = weakref.WeakSet()
_abandoned: Final[list[object]] = []
"""What a fork copied: closing it here would drop the parent's file locks."""


def _reset_all() -> None:
    for indexes in list(_instances):
        indexes._after_fork()


os.register_at_fork(after_in_child=_reset_all)
