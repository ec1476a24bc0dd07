"""Part two: commits a second to a bucket's index, and pages of its listing."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench.index_commits import THREADS, CommitRates, measure_commits, measure_listing
from bench.report import format_rows
from bench.settings import Settings


def measure_index(settings: Settings, root: Path, say: Callable[[str], None]) -> dict[str, Any]:
    """Measure both and return the results as JSON; tell people through *say*."""
    each = 100 if settings.is_quick else 500
    commits = []
    for threads in (1, THREADS):
        rounds = [
            measure_commits(
                root / f"{threads}-{number}",
                threads=threads,
                each=each,
                single_each=each if threads == 1 else each // 5,
            )
            for number in range(settings.rounds)
        ]
        commits.append(_summary(rounds))
    say(_format_commits(commits))
    listing = measure_listing(root / "listing", keys=100_000 if settings.is_quick else 1_000_000)
    say(
        f"{listing.keys:,} keys: a page of 1,000 takes {listing.first_page_s * 1000:.1f} ms at the "
        f"start, {listing.last_page_s * 1000:.1f} ms at the end, "
        f"{listing.prefixes_page_s * 1000:.1f} ms of rolled-up prefixes"
    )
    return {"commits": commits, "listing": asdict(listing)}


def _summary(rounds: list[CommitRates]) -> dict[str, Any]:
    return {
        "threads": rounds[0].threads,
        "grouped_per_second": [rates.grouped_per_s for rates in rounds],
        "single_per_second": [rates.single_per_s for rates in rounds],
        "ratio": statistics.median(rates.ratio for rates in rounds),
    }


def _format_commits(commits: list[dict[str, Any]]) -> str:
    rows = [["durable index commits/s", "grouped", "one by one", "ratio"]]
    for found in commits:
        count = found["threads"]
        rows.append(
            [
                f"{count} thread{'s' if count > 1 else ''}",
                f"{statistics.median(found['grouped_per_second']):,.0f}",
                f"{statistics.median(found['single_per_second']):,.0f}",
                f"{found['ratio']:.1f}",
            ]
        )
    return format_rows(rows)
