"""What runs in the background of a host process: unfinished deletions, indexes to be closed."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Final

from modules.errors import StorageError
from zfsstore.host.blobs import Blobs
from zfsstore.host.namespace.index import Index
from zfsstore.host.namespace.indexes import Indexes

INTERVAL_S: Final = 30.0
IDLE_S: Final = 5.0
"""A volume cannot be unmounted by hand while any worker has its index open."""

_TICK_S: Final = 0.25
"""Somebody may be waiting for so long until an idle index is closed, or a stalled upload."""
_IDLE_LOOK_S: Final = 2.0
_log = logging.getLogger(__name__)


class Upkeep:
    """One thread of a process that finishes deletions and closes indexes that are idle or draining.

    ``start`` is called with every request and starts it once, after a fork once more.
    """

    def __init__(self, indexes: Indexes, blobs: Blobs) -> None:
        self._indexes = indexes
        self._blobs = blobs
        self._pid = 0
        self._due_at = 0.0
        self._idle_due_at = 0.0
        self._stop = threading.Event()

    def start(self) -> None:
        """Start the thread if this process has none."""
        if self._pid == os.getpid():
            return
        self._pid = os.getpid()  # two threads at once start two: the work may be done twice
        self._stop = threading.Event()
        self._due_at = time.monotonic() + INTERVAL_S
        threading.Thread(
            target=self._main, args=(self._stop,), name="object-upkeep", daemon=True
        ).start()

    def stop(self) -> None:
        """Let the thread end after what it is doing."""
        self._stop.set()

    def run_once(self, *, older_than: timedelta) -> int:
        """Carry out pending deletions of that age in every open index; close idle indexes.

        Deleting twice is harmless, so other processes may be doing the same.
        """
        count = 0
        for path, index in self._open_indexes():
            try:
                pending = index.pending(older_than=older_than)
                count += self._blobs.delete(path, index, pending, wait=True)
            except StorageError as error:
                _log.warning("%s: pending deletions wait: %s", path, error)
        self._indexes.close_idle(IDLE_S)
        self._indexes.remove_copies()
        return count

    def _open_indexes(self) -> Iterator[tuple[str, Index]]:
        yield from self._indexes.leases()
        yield from self._indexes.shared_buckets()

    def _main(self, stop: threading.Event) -> None:
        while not stop.wait(_TICK_S):
            try:
                self._blobs.in_flight.interrupt_draining()
                self._indexes.close_urgent()
                if time.monotonic() >= self._idle_due_at:
                    self._idle_due_at = time.monotonic() + _IDLE_LOOK_S
                    self._indexes.close_idle(IDLE_S)
                if time.monotonic() >= self._due_at:
                    self._due_at = time.monotonic() + INTERVAL_S
                    self.run_once(older_than=timedelta(seconds=INTERVAL_S))
            except Exception:  # the next round may do better
                _log.exception("upkeep failed")
