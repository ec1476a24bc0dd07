"""How large is large, and how many are many."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

MIB: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Scale:
    """The numbers behind the rules that need much.

    Attributes:
        large_bytes: size of the large object.
        memory_bytes: what may be allocated at once while it is stored or read.
        operations: how many operations must leave nothing open and nothing allocated.
        threads: how many call one instance at once.
        processes: how many have an instance of their own at once.
    """

    large_bytes: int = 100 * MIB
    memory_bytes: int = 32 * MIB
    operations: int = 1000
    threads: int = 16
    processes: int = 4


FULL: Final = Scale()
"""What conformance means: 100 MiB, 1,000 operations, 16 threads, 4 processes."""

QUICK: Final = Scale(16 * MIB, 8 * MIB, operations=400, threads=8, processes=2)
"""For trying while writing a module; passing this proves less."""
