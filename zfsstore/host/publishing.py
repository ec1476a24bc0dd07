"""Published buckets: their keys as files, kept up to date in the background.

Each change of a key adds a line to the bucket's journal, in its own transaction; one process at a
time turns lines into files, after the fact. So publishing takes no part in a put or a delete, a
crash loses nothing, and a bucket that is not published pays nothing.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from typing import Final

from modules.errors import Busy, NotFound, StorageError, VolumeNotFound
from zfsstore.host.blobs import MakeContext, Modules
from zfsstore.host.catalog.records import Tenant
from zfsstore.host.namespace.index import Index
from zfsstore.host.namespace.indexes import Indexes
from zfsstore.host.namespace.journal import ViewState, ViewStatus
from zfsstore.host.namespace.transaction import Transaction
from zfsstore.host.opening import BucketOpener
from zfsstore.host.publishing_mark import hold_mark
from zfsstore.host.publishing_view import ViewUpdater, deadline, publishing_module

_TICK_S: Final = 0.5
_RESUME_S: Final = 30.0
"""How often published buckets are looked at that nobody uses: a crash may have left changes."""
_SLICE_S: Final = 2.0
_BACK_OFF_S: Final = 30.0
_PATIENCE_S: Final = 10.0
_SHARED: Final = 0
_log = logging.getLogger(__name__)


class Publishing:
    """Publishes buckets. Safe for many threads and processes.

    Args:
        opener, indexes, modules, context: the object service's.
    """

    def __init__(
        self, opener: BucketOpener, indexes: Indexes, modules: Modules, context: MakeContext
    ) -> None:
        self._opener = opener
        self._indexes = indexes
        self._modules = modules
        self._context = context
        self._pid = 0
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()
        self._known: set[str] = set()
        self._waiting: dict[str, float] = {}  # path -> when to try again

    def publish(
        self,
        tenant: Tenant,
        bucket: str,
        *,
        rebuild: bool = False,
        progress: Callable[[int], None] = lambda count: None,
    ) -> None:
        """Show a bucket's objects as files from here on; returns when all are shown.

        Again goes on where an earlier call was cut off.

        Args:
            rebuild: remove all files, and show them anew.
            progress: called with the number of keys that were looked at since the last call.

        Raises:
            VolumeNotFound: there is no such bucket.
            NotSupported: its module or its file system cannot show them.
            NoSpace, QuotaExceeded: go on with another call when there is room.
        """
        with self._opener.open(tenant, bucket) as opened:
            module = publishing_module(opened.module, opened.module_name)
            module.sync_published(self._context(tenant=opened.path), ())  # is it possible at all?
            opened.index.journal.start(opened.module_name)
            self._remember(tenant, bucket)
            if rebuild:
                opened.index.journal.advance(state=ViewState.TO_BE_CLEARED)
        is_done = False
        while not is_done:
            with self._opener.open(tenant, bucket) as opened:
                is_done = self._updater(opened.path, opened.index, opened.module_name).update(
                    until=deadline(_SLICE_S), patience_s=_PATIENCE_S, progress=progress
                )

    def unpublish(self, tenant: Tenant, bucket: str) -> None:
        """Remove a bucket's files, and show none from here on; again is silent.

        Raises:
            VolumeNotFound: there is no such bucket.
        """
        with self._opener.open(tenant, bucket) as opened:
            module = publishing_module(opened.module, opened.module_name)
            opened.index.journal.stop()
            context = self._context(tenant=opened.path)
            with hold_mark(module.state_dir(context), patience_s=_PATIENCE_S) as mark:
                mark.clear()
                module.unpublish(context)
        self._forget(tenant.name, bucket)

    def status(self, tenant: Tenant, bucket: str) -> ViewStatus | None:
        """Return how far a bucket's files are, None when it is not published.

        Raises:
            VolumeNotFound: there is no such bucket.
        """
        with self._opener.open(tenant, bucket) as opened:
            return opened.index.journal.status()

    # --- in the background

    def start(self) -> None:
        """Start the thread if this process has none; after a fork, never before."""
        if self._pid == os.getpid():
            return
        self._pid = os.getpid()
        self._stop = threading.Event()
        self._thread = threading.Thread(
            target=self._main, args=(self._stop,), name="publisher", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Let the thread end after the batch that it is at, and wait for it for a while."""
        self._stop.set()
        if self._thread is not None and self._pid == os.getpid():
            self._thread.join(_PATIENCE_S)

    def run_once(self, *, resume: bool = True) -> None:
        """Bring the files of every published bucket that is open in this process up to date.

        Args:
            resume: open those that are not open, too.
        """
        for path, index in self._indexes.leases():
            if self._is_due(path):
                self._update(path, index)
        if not resume:
            return
        for tenant, bucket in self._remembered():
            path = f"{tenant.name}/{bucket}"
            if self._is_due(path):
                self._resume(path, tenant, bucket)

    def _resume(self, path: str, tenant: Tenant, bucket: str) -> None:
        try:
            with self._opener.open(tenant, bucket) as opened:
                if opened.index.journal.status() is None:
                    self._forget(tenant.name, bucket)
                else:
                    self._update(path, opened.index)
        except VolumeNotFound:
            self._forget(tenant.name, bucket)
        except StorageError as error:
            self._back_off(path, error)

    def _update(self, path: str, index: Index) -> None:
        try:
            status = index.journal.status()
            if status is None or self._stop.is_set():
                return
            if path not in self._known:  # it was renamed, restored or received
                tenant, _, bucket = path.partition("/")
                self._remember(Tenant(tenant, status.module), bucket)
            until = deadline(_SLICE_S)
            updater = self._updater(path, index, status.module)
            updater.update(until=lambda: self._stop.is_set() or until())
        except (Busy, NotFound):  # another is at it, or wants to be alone; not published any more
            return
        except StorageError as error:
            self._back_off(path, error)

    def _updater(self, path: str, index: Index, module_name: str) -> ViewUpdater:
        module = publishing_module(self._modules(module_name), module_name)
        return ViewUpdater(index, module, self._modules, self._context(tenant=path), path)

    def _is_due(self, path: str) -> bool:
        return time.monotonic() >= self._waiting.get(path, 0.0)

    def _back_off(self, path: str, error: StorageError) -> None:
        _log.warning("%s: its files wait: %s", path, error)
        now = time.monotonic()
        self._waiting = {p: due for p, due in self._waiting.items() if due > now}
        self._waiting[path] = now + _BACK_OFF_S

    def _main(self, stop: threading.Event) -> None:
        resume_at = 0.0
        while not stop.wait(_TICK_S):
            try:
                is_due = time.monotonic() >= resume_at
                if is_due:
                    resume_at = time.monotonic() + _RESUME_S
                self.run_once(resume=is_due)
            except Exception:  # the next round may do better
                _log.exception("publishing failed")

    # --- which buckets, for those that nobody has open

    def _remember(self, tenant: Tenant, bucket: str) -> None:
        values = _named(tenant.name, bucket)

        def work(tx: Transaction) -> None:
            tx.write(tx.sql.delete_published_volume, values)
            tx.write(tx.sql.insert_published_volume, {**values, "module": tenant.policy})

        with self._indexes.lease_shared() as store:
            store.writer.run(_SHARED, work)
        self._known.add(f"{tenant.name}/{bucket}")

    def _forget(self, tenant: str, bucket: str) -> None:
        values = _named(tenant, bucket)
        self._known.discard(f"{tenant}/{bucket}")
        with self._indexes.lease_shared() as store:
            store.writer.run(_SHARED, lambda tx: tx.write(tx.sql.delete_published_volume, values))

    def _remembered(self) -> Iterator[tuple[Tenant, str]]:
        with self._indexes.lease_shared() as store, store.readers.borrow() as connection:
            rows = connection.execute(store.sql.published_volumes).fetchall()
        for tenant, bucket, module in rows:
            yield Tenant(bytes(tenant).decode(), module), bytes(bucket).decode()


def _named(tenant: str, bucket: str) -> dict[str, bytes]:
    return {"tenant": tenant.encode(), "name": bucket.encode()}
