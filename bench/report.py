"""The results of a run: tables for people, a dictionary for JSON, targets met or not."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from bench.measure import Case, Result

MIB: Final = 1024 * 1024
TARGETS: Final[Mapping[str, float]] = {
    "put of a large object": 0.9,
    "get of a large object": 0.9,
    "put of 4 KiB": 0.8,
    "get of 4 KiB": 0.5,
}
"""Least ratio to the fastest raw recipe. Source: docs/performance.md."""

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Verdict:
    """One target, for one subject and case."""

    target: str
    subject: str
    threads: int
    ratio: float
    least: float

    @property
    def is_met(self) -> bool:
        """Whether the ratio, rounded as it is printed, reaches the target."""
        return round(self.ratio, 2) >= self.least

    def to_dict(self) -> Json:
        """Return the verdict as JSON."""
        return {**asdict(self), "is_met": self.is_met}


def case_to_dict(case: Case, results: Sequence[Result]) -> Json:
    """Return one case as JSON; rates are operations a second, one a round."""
    return {
        "size_bytes": case.size_bytes,
        "threads": case.threads,
        "puts_per_thread": case.puts,
        "reads_per_object": case.reads,
        "results": [
            {
                "subject": result.subject,
                "is_raw": result.is_raw,
                "puts_per_second": result.put_rates,
                "gets_per_second": result.get_rates,
                "put_ratio": result.put_ratio,
                "get_ratio": result.get_ratio,
            }
            for result in results
        ],
    }


def verdicts(case: Mapping[str, Any]) -> list[Verdict]:
    """Return what the targets say about one case as given by :func:`case_to_dict`."""
    size = "4 KiB" if case["size_bytes"] <= 4096 else "a large object"
    return [
        Verdict(
            f"{operation} of {size}",
            result["subject"],
            case["threads"],
            result[f"{operation}_ratio"],
            TARGETS[f"{operation} of {size}"],
        )
        for result in case["results"]
        if not result["is_raw"]
        for operation in ("put", "get")
        if result[f"{operation}_ratio"] is not None
    ]


def format_size(size_bytes: int) -> str:
    """Return ``4 KiB``, ``64 MiB``, ``1 GiB``."""
    for unit, factor in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if size_bytes >= factor:
            return f"{size_bytes / factor:g} {unit}"
    return f"{size_bytes} B"


def format_case(case: Mapping[str, Any], *, clients: str = "thread") -> str:
    """Return one case as a table of medians: rate, spread of the rounds, ratio."""
    size, count = case["size_bytes"], case["threads"]
    unit, scale = ("MiB/s", size / MIB) if size >= MIB else ("op/s", 1.0)
    title = f"{format_size(size)}, {count} {clients}{'s' if count > 1 else ''}"
    rows = [[title, f"put {unit}", "ratio", f"get {unit}", "ratio"]]
    for result in case["results"]:
        rows.append(
            [
                result["subject"],
                _rate(result["puts_per_second"], scale),
                _ratio(result["put_ratio"]),
                _rate(result["gets_per_second"], scale),
                _ratio(result["get_ratio"]),
            ]
        )
    return format_rows(rows)


def format_counts(counts: Sequence[Mapping[str, Any]]) -> str:
    """Return the table of fsyncs and transaction groups per put."""
    rows = [["per put, by one thread", "size", "fsync", "fdatasync", "transaction groups"]]
    for count in counts:
        txg = count["txg"]
        rows.append(
            [
                count["subject"],
                format_size(count["size_bytes"]),
                f"{count['fsync']:g}",
                f"{count['fdatasync']:g}",
                "-" if txg is None else f"{txg:.2f}",
            ]
        )
    return format_rows(rows)


def format_verdicts(found: Sequence[Verdict], *, clients: str = "threads") -> str:
    """Return one line a target: the ratio, the target, met or not met."""
    rows = [["target", "subject", clients, "ratio", "at least", ""]]
    for verdict in found:
        rows.append(
            [
                verdict.target,
                verdict.subject,
                str(verdict.threads),
                f"{verdict.ratio:.2f}",
                f"{verdict.least:.2f}",
                "met" if verdict.is_met else "NOT MET",
            ]
        )
    return format_rows(rows)


def format_rows(rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table; numbers to the right."""
    widths = [max(2, *(len(row[column]) for row in rows)) for column in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append(f"| {' | '.join(cells)} |")
    rule = [
        f":{'-' * (width - 1)}" if column == 0 else f"{'-' * (width - 1)}:"
        for column, width in enumerate(widths)
    ]
    lines.insert(1, f"| {' | '.join(rule)} |")
    return "\n".join(lines)


def _rate(rates: Sequence[float], scale: float) -> str:
    if not rates:
        return "-"
    low, middle, high = (f"{pick(rates) * scale:,.0f}" for pick in (min, statistics.median, max))
    return f"{middle} ({low}-{high})"


def _ratio(ratio: float | None) -> str:
    return "-" if ratio is None else f"{ratio:.2f}"
