"""CPU time of one thread, and the references that wrappers are compared with.

Everything of one table runs in each round, one after the other, by one thread; CPU time of the
process, so that waiting for the disk or for other programs does not count.
"""

from __future__ import annotations

import gc
import os
import statistics
import time
import tracemalloc
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

Actions = Mapping[str, Callable[[], object]]
SEGMENT_BYTES: Final = 65536


@dataclass(frozen=True, slots=True)
class Row:
    """One measured number and its target.

    Attributes:
        unit: "x" for a ratio of speeds (higher is better), else a unit of which less is better.
    """

    what: str
    value: float
    unit: str
    target: float

    @property
    def is_met(self) -> bool:
        """Whether the value, rounded as it is printed, reaches the target."""
        if self.unit == "x":
            return round(self.value, 2) >= self.target
        return round(self.value, 2) <= self.target


def cpu_seconds(actions: Actions, rounds: int) -> dict[str, list[float]]:
    """Run all *actions* in every round, in an order that rotates; return CPU seconds of each."""
    names = list(actions)
    spent: dict[str, list[float]] = {name: [] for name in names}
    for number in range(rounds + 1):  # the first round is not counted
        shift = number % len(names)
        for name in [*names[shift:], *names[:shift]]:
            gc.collect()
            start = time.process_time()
            actions[name]()
            if number:
                spent[name].append(time.process_time() - start)
    return spent


def speed_ratio(spent: Mapping[str, Sequence[float]], name: str, reference: str) -> float:
    """Return how fast *name* is, the reference being 1: the median of the rounds' ratios."""
    return statistics.median(r / s for s, r in zip(spent[name], spent[reference], strict=True))


def microseconds_over(
    spent: Mapping[str, Sequence[float]], name: str, reference: str, operations: int
) -> float:
    """Return how many microseconds more than the reference an operation takes.

    In the fastest rounds: on a machine with other work the CPU time of the same code doubles, so
    that an absolute number means something only where it was disturbed least.
    """
    return (min(spent[name]) - min(spent[reference])) / operations * 1e6


def peak_mib(action: Callable[[], object]) -> float:
    """Return the most memory that *action* had allocated through Python at once, in MiB."""
    gc.collect()
    tracemalloc.start()
    try:
        action()
        return tracemalloc.get_traced_memory()[1] / (1 << 20)
    finally:
        tracemalloc.stop()


class GcmReference:
    """``ref_gcm``: a file read, AES-256-GCM by 64 KiB, a file written; what could not be less."""

    def __init__(self, source: Path, copy: Path) -> None:
        self._source, self._copy = source, copy
        self._aead = AESGCM(os.urandom(32))
        self._sealed = bytearray(SEGMENT_BYTES + 16)
        self._plain = bytearray(SEGMENT_BYTES)

    def put(self) -> None:
        """Encrypt the source into the copy."""
        number, sealed = 0, memoryview(self._sealed)
        with open(self._source, "rb", buffering=0) as file, open(self._copy, "wb", 0) as out:
            while block := file.read(SEGMENT_BYTES):
                part = sealed[: len(block) + 16]
                self._aead.encrypt_into(number.to_bytes(12, "big"), block, None, part)
                out.write(part)
                number += 1

    def get(self) -> None:
        """Decrypt the copy."""
        number, plain = 0, memoryview(self._plain)
        with open(self._copy, "rb", buffering=0) as file:
            while block := file.read(SEGMENT_BYTES + 16):
                part = plain[: len(block) - 16]
                self._aead.decrypt_into(number.to_bytes(12, "big"), block, None, part)
                number += 1


def random_file(path: Path, size_bytes: int) -> Path:
    """Write a file of random bytes, and return *path*."""
    block = os.urandom(1 << 20)
    with open(path, "wb") as file:
        for _ in range(size_bytes >> 20):
            file.write(block)
    return path
