"""What changed between two snapshots, or since one: ``zfs diff``.

Source: zfs-diff(8); OpenZFS, lib/libzfs/libzfs_diff.c for the escapes.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from zfsstore.zfs.snapshot_commands import not_understood

_KINDS: Final = {"+": "created", "-": "removed", "M": "modified", "R": "renamed"}
_LINKS: Final = re.compile(r"\(([+-]\d+)\)")


@dataclass(frozen=True, slots=True)
class Change:
    """One file that changed.

    ``kind``: created, removed, modified or renamed. ``file_type`` as zfs-diff(8) has it: "F" a
    file, "/" a directory, "@" a symbolic link, "|" a pipe, "=" a socket, "B" and "C" devices.
    Paths are absolute, below the mountpoint; bytes that are no UTF-8 are surrogates.
    """

    kind: str
    file_type: str
    path: str
    new_path: str | None
    link_change: int
    changed_at: datetime


def diff_argv(snapshot: str, other: str | None = None) -> list[str]:
    """Return the command that prints what changed from *snapshot* to *other*, or to now."""
    return ["zfs", "diff", "-FHt", snapshot, *([] if other is None else [other])]


def parse_diff(stdout: str, *, argv: Sequence[str] = ()) -> list[Change]:
    """Return what ``zfs diff -FHt`` printed, in its order.

    Raises:
        CommandFailed: a line is not understood.
    """
    return [_change(line, argv) for line in filter(None, stdout.split("\n"))]


def unescape(text: str) -> str:
    r"""Return the path that zfs diff wrote: each byte that is not printable ASCII is ``\0ooo``."""
    raw = re.sub(r"\\(0[0-3][0-7]{2})", lambda found: chr(int(found[1], 8)), text)
    return raw.encode("latin-1", "replace").decode("utf-8", "surrogateescape")


def _change(line: str, argv: Sequence[str]) -> Change:
    columns = line.split("\t")
    seconds, _dot, fraction = columns[0].partition(".")
    if len(columns) not in (4, 5) or not seconds.isdigit() or columns[1] not in _KINDS:
        raise not_understood(line, argv)
    when = datetime.fromtimestamp(int(seconds), UTC)
    last = columns[4] if len(columns) == 5 else ""
    links = _LINKS.fullmatch(last) if columns[1] != "R" else None
    return Change(
        kind=_KINDS[columns[1]],
        file_type=columns[2],
        path=unescape(columns[3]),
        new_path=unescape(last) if columns[1] == "R" else None,
        link_change=int(links[1]) if links is not None else 0,
        changed_at=when.replace(microsecond=int(f"{fraction:0<6.6}") if fraction else 0),
    )
