"""One object too large to be kept in memory, stored and read once for several rules."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import Final

from modules.conformance.observe import traced_memory
from modules.conformance.payload import first_difference, pattern_range, read_exactly
from modules.conformance.store import Store

_SEED: Final = "large"
_BLOCK: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class LargeObject:
    """What became of the large object.

    Attributes:
        difference: None when it came back, else what went wrong.
        put_peak_bytes: most that was allocated at once during ``put``.
        get_peak_bytes: the same while it was read in blocks of 1 MiB.
    """

    size: int
    difference: str | None = None
    put_peak_bytes: int = 0
    get_peak_bytes: int = 0

    @classmethod
    def measure(cls, store: Store, size: int) -> LargeObject:
        """Store an object of *size* bytes, read it back, delete it."""
        try:
            with traced_memory() as memory:
                module_data = store.put(_SEED, size)
                put_peak = memory.peak_bytes
            with traced_memory() as memory:
                difference = _read_back(store, module_data, size)
                get_peak = memory.peak_bytes
            store.delete(module_data)
        except Exception as error:  # whatever the module raises is the answer to put.large
            return cls(size, f"{type(error).__name__}: {error}")
        return cls(size, difference, put_peak, get_peak)


def _read_back(store: Store, module_data: str, size: int) -> str | None:
    with contextlib.closing(store.module.get_read_stream(store.context(), module_data)) as stream:
        for start in range(0, size, _BLOCK):
            expected = pattern_range(_SEED, start, min(start + _BLOCK, size))
            found = read_exactly(stream, len(expected))
            if found != expected:
                return f"from byte {start}: {first_difference(expected, found)}"
        if read_exactly(stream, 1):
            return f"it goes on after {size} bytes"
    return None
