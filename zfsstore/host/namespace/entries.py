"""One open index of a process: who uses it, since when nobody does, and its hold of the fence."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from modules import fences
from zfsstore.host.namespace.database import Database
from zfsstore.host.namespace.store import Store


@dataclass(slots=True, eq=False)
class Entry:
    """An open store, or one being opened.

    Attributes:
        label: what upkeep calls it: "acme/photos"; "" for what upkeep has no business with.
        idle_s: how long it stays open when nobody uses it; None: as long as others may.
        hold: of the volume's fence, for as long as the store is open.
    """

    label: str = ""
    idle_s: float | None = None
    store: Store | None = None
    hold: fences.Hold | None = None
    users: int = 0
    used_at: float = 0.0
    opening: threading.Lock = field(default_factory=threading.Lock)

    @property
    def is_draining(self) -> bool:
        """True while somebody waits to be alone in the volume."""
        return self.hold is not None and self.hold.is_draining

    @property
    def is_of_interest(self) -> bool:
        """True when there is something to keep up in it."""
        store = self.store
        is_live = store is not None and not store.database.is_read_only
        return is_live and bool(self.label) and not self.is_draining

    def open(self, database: Callable[[], Database], fence: Path | None = None) -> Store:
        """Return the store; the first to come opens it.

        Raises:
            Busy: somebody is alone in the volume, or waits to be.
        """
        if self.store is None:
            with self.opening:
                if self.store is None:
                    self._open(database, fence)
        assert self.store is not None
        return self.store

    def close(self) -> None:
        """Close the store after what is queued, then let go of the fence."""
        store, self.store = self.store, None
        hold, self.hold = self.hold, None
        try:
            if store is not None:
                store.close()
        finally:
            if hold is not None:
                hold.release()

    def _open(self, database: Callable[[], Database], fence: Path | None) -> None:
        with ExitStack() as undo:
            hold = None if fence is None else undo.enter_context(fences.hold(fence))
            store = Store(database())
            undo.pop_all()
        self.hold, self.store = hold, store
