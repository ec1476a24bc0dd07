"""Uploads under way, so that one whose client has stalled does not hold up an operator."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol, runtime_checkable

from modules.fences import Hold
from modules.streams import SupportsRead


@runtime_checkable
class Interruptible(SupportsRead, Protocol):
    """A stream whose ``read`` can be woken up by another thread."""

    def interrupt(self) -> None:
        """Let a ``read`` that waits fail, and all later ones. May be called again."""


class InFlight:
    """The uploads of a process into volumes that can be closed off. Safe for threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._streams: dict[int, tuple[Hold, Interruptible]] = {}

    @contextmanager
    def uploading(self, hold: Hold | None, stream: SupportsRead) -> Iterator[None]:
        """Know of an upload for as long as the block runs."""
        if hold is None or not isinstance(stream, Interruptible):
            yield
            return
        with self._lock:
            self._streams[id(stream)] = (hold, stream)
        try:
            yield
        finally:
            with self._lock:
                del self._streams[id(stream)]

    def interrupt_draining(self) -> None:
        """Wake up the uploads into volumes that somebody waits for. Cheap when there are none."""
        if not self._streams:
            return
        with self._lock:  # none of them can end meanwhile, and its connection serve another
            for hold, stream in self._streams.values():
                if hold.is_draining:
                    stream.interrupt()
