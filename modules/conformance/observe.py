"""What can be seen of a module from outside: files, descriptors, memory."""

from __future__ import annotations

import gc
import os
import tracemalloc
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Final

MAX_FILES: Final = 100_000
"""A store with more files than this is not listed: it would take longer than the suite."""


def files_below(paths: Iterable[str]) -> frozenset[str] | None:
    """Return every file below *paths*, or None when there are too many to list."""
    found: set[str] = set()
    for path in paths:
        for directory, _, names in os.walk(path):
            found.update(os.path.join(directory, name) for name in names)
            if len(found) > MAX_FILES:
                return None
    return frozenset(found)


def open_descriptors() -> int | None:
    """Return how many descriptors this process has open, None where that cannot be known."""
    gc.collect()
    for directory in ("/proc/self/fd", "/dev/fd"):
        if os.path.isdir(directory):
            return len(os.listdir(directory))
    return None


class Memory:
    """Bytes that Python code allocated: ``current`` now, ``peak`` since the block began.

    Counted by tracemalloc: exact and the same in every run, but blind to what a C library
    allocates for itself.
    """

    def __init__(self) -> None:
        self._start = tracemalloc.get_traced_memory()[0]

    @property
    def current_bytes(self) -> int:
        gc.collect()
        return tracemalloc.get_traced_memory()[0] - self._start

    @property
    def peak_bytes(self) -> int:
        return tracemalloc.get_traced_memory()[1] - self._start


@contextmanager
def traced_memory() -> Iterator[Memory]:
    """Measure the memory that the block allocates."""
    gc.freeze()  # what is there already cannot be leaked here: collections need not look at it
    was_tracing = tracemalloc.is_tracing()
    if not was_tracing:
        tracemalloc.start()
    tracemalloc.reset_peak()
    try:
        yield Memory()
    finally:
        gc.unfreeze()
        if not was_tracing:
            tracemalloc.stop()
