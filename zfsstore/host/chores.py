"""The work that modules have of their own (modules.extensions.SupportsUpkeep), in the background.

One process of a host does it, a bounded piece at a time: whoever has the lock of a file in the data
directory. The kernel takes it from a process that dies, and another worker goes on. Should hosts
with data directories of their own share a store, each does this: modules bear that.
"""

from __future__ import annotations

import fcntl
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final

from modules import StorageModule
from modules.durable import make_directories
from modules.errors import (
    Busy,
    ConfigurationError,
    StorageError,
    VolumeNotFound,
    translated_oserror,
)
from modules.extensions import SupportsUpkeep, SupportsVolumes
from modules.volumes import Volume
from zfsstore.host.blobs import MakeContext, Modules, call_context
from zfsstore.host.catalog.records import Tenant

ROUND_S: Final = 600.0
"""So long after the start of a round through all buckets the next one begins."""

SLICE_S: Final = 2.0
"""How long a module may be at one bucket before the next one's turn comes."""

_TICK_S: Final = 1.0
_PATIENCE_S: Final = 10.0
_log = logging.getLogger(__name__)


class Chores:
    """One thread of a process, which works while no other process of this host does.

    Args:
        tenants: lists them; the modules that their policies name are looked after.
        modules, context: the object service's.
        lock_path: where the processes of a host meet; created when needed.
    """

    def __init__(
        self,
        tenants: Callable[[], Iterable[Tenant]],
        modules: Modules,
        context: MakeContext,
        lock_path: Path,
    ) -> None:
        self._tenants = tenants
        self._modules = modules
        self._context = context
        self._lock_path = lock_path
        self._pid = 0
        self._lock_fd = -1
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, *, tick_s: float = _TICK_S, round_s: float = ROUND_S) -> None:
        """Start the thread if this process has none; after a fork, never before."""
        if self._pid == os.getpid():
            return
        self._pid = os.getpid()
        self._lock_fd = -1
        self._stop = threading.Event()
        self._thread = threading.Thread(
            target=self._main, args=(self._stop, tick_s, round_s), name="chores", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Let the thread end after the piece that it is at, and wait for it for a while."""
        self._stop.set()
        if self._thread is not None and self._pid == os.getpid():
            self._thread.join(_PATIENCE_S)

    def run_round(self, *, slice_s: float = SLICE_S) -> int:
        """Do all that there is to do, a slice for each bucket in turn; return how many slices.

        After each it rests as long as that took: half of a processor is the most it takes.
        """
        count = 0
        waiting = deque(self._mine())
        while waiting and not self._stop.is_set():
            path, module = waiting.popleft()
            began = time.monotonic()
            until = began + slice_s
            if self._work(path, module, until):
                waiting.append((path, module))
            count += 1
            self._stop.wait(min(time.monotonic() - began, slice_s))
        return count

    def _mine(self) -> Iterator[tuple[str, SupportsUpkeep]]:
        """Yield what there is to look after: every bucket, or a module that has no volumes."""
        tenants: dict[str, list[str]] = {}
        for tenant in self._tenants():
            tenants.setdefault(tenant.policy, []).append(tenant.name)
        for policy, names in tenants.items():
            try:
                module = self._modules(policy)
                if not isinstance(module, SupportsUpkeep):
                    continue
                paths = names[:1]
                if isinstance(module, SupportsVolumes):
                    paths = _buckets(module.volumes.list_volumes(), names)
            except (StorageError, ConfigurationError) as error:
                _log.warning("module %s: its upkeep waits: %s", policy, error)
                continue
            yield from ((path, module) for path in paths)

    def _work(self, path: str, module: SupportsUpkeep, until: float) -> bool:
        """Give a bucket its slice; return True when it needs another one."""
        assert isinstance(module, StorageModule)

        def should_stop() -> bool:
            return self._stop.is_set() or time.monotonic() >= until

        try:
            context = call_context(module, self._context, path)
            return module.upkeep(context, should_stop=should_stop)
        except (Busy, VolumeNotFound):  # somebody wants to be alone in it, or has removed it
            return False
        except StorageError as error:
            _log.warning("%s: upkeep waits: %s", path, error)
        except Exception:  # a module's fault must not keep the others from their turn
            _log.exception("%s: upkeep failed", path)
        return False

    def _main(self, stop: threading.Event, tick_s: float, round_s: float) -> None:
        due_at = 0.0
        try:
            while not stop.wait(tick_s):
                if time.monotonic() < due_at or not self._is_elected():
                    continue
                due_at = time.monotonic() + round_s
                try:
                    self.run_round()
                except Exception:  # the next round may do better
                    _log.exception("upkeep of modules failed")
        finally:
            if self._lock_fd >= 0:
                os.close(self._lock_fd)

    def _is_elected(self) -> bool:
        """Tell whether this process has the lock, taking it when nobody has."""
        if self._lock_fd >= 0:
            return True
        try:
            fd = self._open_lock()
        except StorageError as error:
            _log.warning("upkeep of modules waits: %s", error)
            return False
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(fd)
            return False
        self._lock_fd = fd
        return True

    def _open_lock(self) -> int:
        with translated_oserror(operation="take turns at upkeep", subject=str(self._lock_path)):
            make_directories(self._lock_path.parent, mode=0o700)
            return os.open(self._lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _buckets(volumes: Iterable[Volume], tenants: Iterable[str]) -> list[str]:
    owners = set(tenants)
    pairs = (volume["name"].partition("/") for volume in volumes)
    return [f"{owner}/{bucket}" for owner, _, bucket in pairs if bucket and owner in owners]
