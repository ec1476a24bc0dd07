"""What the command prints: tables for people, JSON for scripts, one line for an error."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, TextIO

_UNITS: Final = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")


def printable(text: str) -> str:
    """Return *text* on one line, with everything a terminal would obey written as an escape."""
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode("ascii")
        for char in text.encode("utf-8", "backslashreplace").decode("utf-8")
    )


def printable_lines(text: str) -> str:
    """Return *text* with each of its lines made printable."""
    return "\n".join(printable(line) for line in text.split("\n"))


def format_size(size_bytes: int | None) -> str:
    """Return a size for people: ``1.5 GiB``, ``-`` for None."""
    if size_bytes is None:
        return "-"
    amount = float(size_bytes)
    for unit in _UNITS:
        if abs(amount) < 1024 or unit == _UNITS[-1]:
            break
        amount /= 1024
    return f"{size_bytes} B" if unit == "B" else f"{amount:.1f} {unit}"


def format_time(time: datetime) -> str:
    """Return an aware time in UTC, to the second, as RFC 3339 writes it."""
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def format_table(headers: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return left-aligned columns, two spaces apart; only the headers when there are no rows."""
    cells = [list(headers)] + [[printable(str(cell)) for cell in row] for row in rows]
    widths = [max(len(row[column]) for row in cells) for column in range(len(headers))]
    lines = ("  ".join(map(str.ljust, row, widths)).rstrip() for row in cells)
    return "\n".join(lines)


def format_facts(facts: Mapping[str, object]) -> str:
    """Return one ``name  value`` line for each fact; ``-`` for None."""
    width = max(map(len, facts), default=0)
    return "\n".join(
        f"{name.ljust(width)}  {printable('-' if value is None else str(value))}"
        for name, value in facts.items()
    )


class Output:
    """Where a command's result goes: text for people, or one JSON document for scripts.

    A handler calls exactly one of its methods, once.
    """

    def __init__(self, *, as_json: bool, stream: TextIO | None = None) -> None:
        self.as_json = as_json
        self._stream = stream

    def text(self, text: str, data: Any) -> None:
        """Print *text*, or *data* as JSON."""
        stream = self._stream or sys.stdout
        if self.as_json:
            json.dump(data, stream, indent=2, ensure_ascii=False, sort_keys=True)
            stream.write("\n")
        elif text:
            stream.write(f"{text}\n")
        stream.flush()

    def table(self, headers: Sequence[str], rows: Iterable[Sequence[object]], data: Any) -> None:
        """Print a table, or *data* as JSON."""
        self.text("" if self.as_json else format_table(headers, rows), data)

    def facts(self, facts: Mapping[str, object], data: Any) -> None:
        """Print names and values, or *data* as JSON."""
        self.text("" if self.as_json else format_facts(facts), data)


def print_error(message: str) -> None:
    """Print ``zfsstore: MESSAGE`` as one line on standard error."""
    print(f"zfsstore: {printable(message)}", file=sys.stderr, flush=True)


def print_note(message: str) -> None:
    """Print a remark that is no result (progress, a hint) on standard error."""
    print(printable(message), file=sys.stderr, flush=True)
