"""What a run measures, as asked on the command line."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

SMALL_BYTES: Final = 4096


@dataclass(frozen=True, slots=True)
class Settings:
    """One run.

    Attributes:
        directory: on the disk to measure; a folder of the run's own is made in it and removed.
        large_bytes: size of a large object for one thread or connection.
        parallel_bytes: size of each of 32 large objects written at once.
        small_puts: how many 4 KiB objects one thread stores in a round; of 32, each stores a
            sixteenth. Through HTTP it is a quarter of both.
        rounds: how often everything is measured; medians are reported.
        dataset: a ZFS dataset for ZFSStorage, mounted above *directory*'s file system's pool.
    """

    directory: Path
    is_quick: bool
    large_bytes: int
    parallel_bytes: int
    rounds: int
    small_puts: int
    dataset: str | None = None
