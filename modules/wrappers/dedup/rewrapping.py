"""Packs whose keys are wrapped anew: their module_data is kept here, and nowhere else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Final

from modules.wrappers.dedup import schema
from modules.wrappers.dedup.database import Connection
from modules.wrappers.dedup.index import Index

_BATCH: Final = 100


def rewrap_packs(index: Index, rewrap: Callable[[str], str]) -> Iterator[bool]:
    """Keep what *rewrap* returns for the module_data of each pack, where that still is the same.

    Yields True for each that was changed. Cut off, the next call goes on: what is done already
    needs no change.
    """
    last = -1
    while rows := _packs_after(index, last):
        last = rows[-1][0]
        changes = [(rewrap(name), number, name) for number, name in rows]
        changes = [change for change in changes if change[0] != change[2]]
        if changes:
            index.database.write("rewrap packs", partial(_keep, changes=changes))
        yield from (True for _ in changes)
        yield from (False for _ in range(len(rows) - len(changes)))


def _packs_after(index: Index, last: int) -> list[tuple[int, str]]:
    with index.database.reading("rewrap packs") as connection:
        return connection.execute(
            "SELECT no, module_data FROM pack WHERE state != ? AND no > ? ORDER BY no LIMIT ?",
            (schema.PACK_OPEN, last, _BATCH),
        ).fetchall()


def _keep(connection: Connection, changes: list[tuple[str, int, str]]) -> None:
    connection.executemany(
        "UPDATE pack SET module_data = ? WHERE no = ? AND module_data = ?", changes
    )
