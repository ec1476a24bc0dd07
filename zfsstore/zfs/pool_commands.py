"""The argv of the zpool commands that we run, and what they print.

JSON from OpenZFS 2.3; before, the text of ``zpool status``, whose words are stable.
Source: zpool-list(8), zpool-status(8), zpool-scrub(8); OpenZFS, cmd/zpool/zpool_main.c
(print_scan_scrub_resilver_status).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Literal

from zfsstore.zfs.listing import parse_document
from zfsstore.zfs.snapshot_commands import not_understood

ScrubAction = Literal["start", "pause", "stop"]

_COLUMNS: Final = ("name", "size", "allocated", "free", "capacity", "fragmentation", "health")
_KEY: Final = re.compile(r" *(pool|state|status|action|see|scan|config|errors): ?(.*)")
_SCAN: Final = re.compile(
    r"(scrub|resilver)(?:ed)? (?:(in progress|paused|canceled)|repaired|\S+ in)"
)
_STATES: Final = {
    "SCANNING": "scanning",
    "FINISHED": "finished",
    "CANCELED": "canceled",
    "in progress": "scanning",
    "paused": "paused",
    "canceled": "canceled",
    None: "finished",
}


@dataclass(frozen=True, slots=True)
class PoolUsage:
    """One line of ``zpool list``. Sizes are raw, before parity; None for a pool that is away."""

    name: str
    size_bytes: int | None
    allocated_bytes: int | None
    free_bytes: int | None
    capacity_percent: int | None
    fragmentation_percent: int | None
    health: str
    """ONLINE, DEGRADED, FAULTED, OFFLINE, REMOVED, UNAVAIL or SUSPENDED."""


@dataclass(frozen=True, slots=True)
class Scan:
    """The last scrub or resilver, or the one that runs.

    ``state``: scanning, paused, finished or canceled. Before OpenZFS 2.3 without times.
    """

    function: str
    state: str
    errors: int | None
    percent_done: float | None
    started_at: datetime | None
    ended_at: datetime | None


@dataclass(frozen=True, slots=True)
class PoolStatus:
    """How a pool is. ``problem`` and ``action`` are sentences, None when all is well."""

    name: str
    state: str
    problem: str | None
    action: str | None
    scan: Scan | None
    data_errors: int

    @property
    def is_healthy(self) -> bool:
        """True for a pool with all of its devices and data."""
        return self.state == "ONLINE" and not self.data_errors


def list_argv(pools: Sequence[str] = ()) -> list[str]:
    """Return the command that prints usage and health of *pools*, of all when none is named."""
    return ["zpool", "list", "-Hp", "-o", ",".join(_COLUMNS), *pools]


def status_argv(pools: Sequence[str] = (), *, as_json: bool) -> list[str]:
    """Return the command that prints the state of *pools*, of all when none is named."""
    return ["zpool", "status", "-jp" if as_json else "-p", *pools]


def scrub_argv(pool: str, action: ScrubAction = "start") -> list[str]:
    """Return the command that starts (or continues), pauses or stops a scrub."""
    return ["zpool", "scrub", *{"start": [], "pause": ["-p"], "stop": ["-s"]}[action], pool]


def parse_pools(stdout: str, *, argv: Sequence[str] = ()) -> list[PoolUsage]:
    """Return what :func:`list_argv` printed, in its order.

    Raises:
        CommandFailed: a line has other columns.
    """
    found = []
    for line in filter(None, stdout.split("\n")):
        columns = line.split("\t")
        if len(columns) != len(_COLUMNS):
            raise not_understood(line, argv)
        size, allocated, free, capacity, fragmentation = map(_number, columns[1:-1])
        found.append(
            PoolUsage(
                name=columns[0],
                size_bytes=size,
                allocated_bytes=allocated,
                free_bytes=free,
                capacity_percent=capacity,
                fragmentation_percent=fragmentation,
                health=columns[-1],
            )
        )
    return found


def parse_json_status(stdout: str, *, argv: Sequence[str] = ()) -> list[PoolStatus]:
    """Return what ``zpool status -jp`` printed, in its order.

    Raises:
        CommandFailed: it is not such a document.
    """
    try:
        return [
            PoolStatus(
                name=name,
                state=str(pool["state"]),
                problem=_sentence(pool.get("status")),
                action=_sentence(pool.get("action")),
                scan=_json_scan(pool["scan_stats"]) if "scan_stats" in pool else None,
                data_errors=int(pool.get("error_count", 0)),
            )
            for name, pool in parse_document(stdout, "pools", argv=argv).items()
        ]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise not_understood(stdout, argv) from error


def parse_status(stdout: str, *, argv: Sequence[str] = ()) -> list[PoolStatus]:
    """Return what ``zpool status -p`` printed as text, in its order.

    Raises:
        CommandFailed: a pool has no state.
    """
    pools: list[dict[str, str]] = []
    key = ""
    for line in stdout.split("\n"):
        found = _KEY.fullmatch(line)
        if found is not None:
            key = found[1]
            if key == "pool":
                pools.append({})
            if not pools:
                raise not_understood(line, argv)
            pools[-1][key] = found[2]
        elif pools and key and line.startswith("\t"):
            pools[-1][key] += f" {line.strip()}"
    if any("state" not in pool for pool in pools):
        raise not_understood(stdout, argv)
    return [_text_status(pool) for pool in pools]


def _text_status(pool: Mapping[str, str]) -> PoolStatus:
    errors = re.match(r"(\d+) data errors", pool.get("errors", ""))
    return PoolStatus(
        name=pool["pool"],
        state=pool["state"],
        problem=_sentence(pool.get("status")),
        action=_sentence(pool.get("action")),
        scan=_text_scan(pool.get("scan", "")),
        data_errors=int(errors[1]) if errors is not None else 0,
    )


def _text_scan(text: str) -> Scan | None:
    found = _SCAN.match(text)
    if found is None:
        return None
    errors = re.search(r"with (\d+) errors", text)
    percent = re.search(r"([\d.]+)% done", text)
    state = _STATES[found[2]]
    return Scan(
        function=found[1],
        state=state,
        errors=int(errors[1]) if errors is not None else None,
        percent_done=float(percent[1]) if percent is not None else _whole(state),
        started_at=None,
        ended_at=None,
    )


def _json_scan(scan: Mapping[str, Any]) -> Scan:
    state = _STATES.get(scan["state"], str(scan["state"]).lower())
    if state == "scanning" and _time(scan.get("scrub_pause")) is not None:
        state = "paused"
    total = int(scan.get("to_examine", 0)) - int(scan.get("skipped", 0))
    percent = 100.0 * int(scan.get("issued", 0)) / total if total > 0 else 0.0
    return Scan(
        function=str(scan["function"]).lower(),
        state=state,
        errors=int(scan.get("errors", 0)),
        percent_done=_whole(state) or min(percent, 100.0),
        started_at=_time(scan.get("start_time")),
        ended_at=_time(scan.get("end_time")),
    )


def _number(text: str) -> int | None:
    digits = text.rstrip("%")  # fragmentation had one, with -p, up to 2.1
    return int(digits) if digits.isdigit() else None


def _whole(state: str) -> float | None:
    return 100.0 if state == "finished" else None


def _time(value: object) -> datetime | None:
    text = str(value or "")
    return datetime.fromtimestamp(int(text), UTC) if text.isdigit() and int(text) else None


def _sentence(text: object) -> str | None:
    return " ".join(str(text).split()) or None if text is not None else None
