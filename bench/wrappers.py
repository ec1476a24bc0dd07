"""Wrappers, as ratios of CPU time within one run: the targets that docs/performance.md lists.

Each wrapper has a module of its own with a function that returns its rows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench.cpu import Row
from bench.report import format_rows, format_size
from bench.settings import Settings
from bench.wrapper_compression import compression_rows
from bench.wrapper_dedup import dedup_rows
from bench.wrapper_encryption import encryption_rows

Say = Callable[[str], None]


def measure_wrappers(settings: Settings, root: Path, say: Say) -> dict[str, Any]:
    """Measure every wrapper whose packages are installed; return all numbers."""
    sections: dict[str, Callable[[Settings, Path], list[Row]]] = {
        "encryption": encryption_rows,
        "compression": compression_rows,
        "deduplication": dedup_rows,
    }
    results: dict[str, Any] = {}
    for name, measure in sections.items():
        directory = root / name
        directory.mkdir()
        rows = measure(settings, directory)
        results[name] = [{**asdict(row), "is_met": row.is_met} for row in rows]
        say(format_wrapper(name, settings, rows))
    return results


def format_wrapper(name: str, settings: Settings, rows: Sequence[Row]) -> str:
    """Return the table of one wrapper."""
    size = format_size(settings.large_bytes)
    table = [[f"{name}, {size}, CPU time of 1 thread", "measured", "target", ""]]
    for row in rows:
        sign = ">=" if row.unit == "x" else "<="
        table.append(
            [
                row.what,
                f"{row.value:.2f} {row.unit}",
                f"{sign} {row.target:g} {row.unit}",
                "met" if row.is_met else "NOT MET",
            ]
        )
    return format_rows(table)
