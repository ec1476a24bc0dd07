"""Collecting: what nobody needs goes, then the packs of which nothing is left. Beside writers."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from modules.errors import StorageError
from modules.wrappers.dedup import schema
from modules.wrappers.dedup.database import Connection
from modules.wrappers.dedup.format import RECIPE
from modules.wrappers.dedup.index import Index
from modules.wrappers.dedup.rows import unrefer

GRACE: Final = timedelta(hours=1)
"""How long a dead pack stays for those who are reading in it."""

_BATCH: Final = 1000

Children = Callable[[bytes], frozenset[bytes]]
ShouldStop = Callable[[], bool]
Row = tuple[int, bytes, int]
_NEVER: Final = (1 << 63) - 1


def never() -> bool:
    """Return False: work to the end."""
    return False


@dataclass(slots=True)
class CollectReport:
    """What a collection did.

    Attributes:
        chunks: how many chunks and recipe nodes went, and stored_bytes with them.
        packs: how many packs were deleted, and pack_bytes with them.
        expired: how many puts were given up because their lease was up.
        unreadable: recipe nodes that nobody needs, but that cannot be read: they stay, with
            what they refer to, until nothing at all is stored.
        waiting: packs that could not be deleted now, each with the reason.
    """

    chunks: int = 0
    stored_bytes: int = 0
    packs: int = 0
    pack_bytes: int = 0
    expired: int = 0
    unreadable: int = 0
    waiting: list[str] = field(default_factory=list)


def collect_chunks(
    index: Index, children: Children, report: CollectReport, should_stop: ShouldStop = never
) -> None:
    """Remove what has been unneeded since before the oldest running put began.

    Args:
        children: reads a recipe node and returns what it refers to; raises StorageError.
        should_stop: asked between batches; what is left, a later call does.
    """
    report.expired += _expire(index)
    if _collect_everything(index, report):
        return
    unreadable: set[bytes] = set()
    while True:
        before = report.chunks
        start = (-1, b"")
        while not should_stop() and (rows := _candidates(index, start)):
            start = rows[-1][:2]
            _collect_batch(index, rows, children, unreadable, report)
        if report.chunks == before:  # what a node referred to becomes unneeded with it
            break
    report.unreadable = len(unreadable)


def collect_packs(
    index: Index,
    delete: Callable[[str], None],
    report: CollectReport,
    *,
    grace: timedelta,
    should_stop: ShouldStop = never,
) -> None:
    """Delete the packs that have been dead for *grace*, and forget those that never came to be.

    Args:
        delete: deletes a pack from the inner module; silent when it is not there.
    """
    _forget_open(index)
    due = index.clock() - grace.total_seconds()
    with index.database.reading("collect") as connection:
        rows = connection.execute(
            "SELECT no, module_data, bytes FROM pack WHERE state = ? AND changed_at <= ?",
            (schema.PACK_DEAD, due),
        ).fetchall()
    for number, module_data, size_bytes in rows:
        if should_stop():
            return
        try:
            delete(module_data)
        except StorageError as error:  # a snapshot is being made, say: the next one will
            report.waiting.append(f"{module_data}: {error}")
            continue
        _forget_pack(index, number)
        report.packs += 1
        report.pack_bytes += size_bytes


def _forget_pack(index: Index, number: int) -> None:
    index.database.write(
        "collect",
        lambda c: c.execute(
            "DELETE FROM pack WHERE no = ? AND state = ?", (number, schema.PACK_DEAD)
        ),
        frees=True,
    )


def _expire(index: Index) -> int:
    def expire(connection: Connection) -> int:
        return connection.execute(
            "DELETE FROM session WHERE lease_until < ? OR generation != ?",
            (index.clock(), index.generation()),
        ).rowcount

    return index.database.write("collect", expire, frees=True)


def _limit(connection: Connection) -> int:
    """Return the epoch of the oldest put that is running; one that never comes when none is."""
    row = connection.execute("SELECT min(start_epoch) FROM session").fetchone()
    return _NEVER if row[0] is None else int(row[0])


def _collect_everything(index: Index, report: CollectReport) -> bool:
    """When no object is left and no put runs, drop all rows; no recipe need be read for that."""

    def drop(connection: Connection) -> bool:
        if connection.execute("SELECT 1 FROM object LIMIT 1").fetchone() is not None:
            return False
        if _limit(connection) != _NEVER:
            return False
        count, size_bytes = connection.execute(
            "SELECT count(*), coalesce(sum(stored_bytes), 0) FROM chunk"
        ).fetchone()
        connection.execute("DELETE FROM chunk")
        connection.execute(
            "UPDATE pack SET state = ?, live_blobs = 0, live_bytes = 0, changed_at = ?"
            " WHERE state = ?",
            (schema.PACK_DEAD, index.clock(), schema.PACK_LIVE),
        )
        report.chunks += count
        report.stored_bytes += size_bytes
        return True

    with index.database.reading("collect") as connection:
        if connection.execute("SELECT 1 FROM object LIMIT 1").fetchone() is not None:
            return False
    return index.database.write("collect", drop, frees=True)


def _candidates(index: Index, start: tuple[int, bytes]) -> list[Row]:
    with index.database.reading("collect") as connection:
        return connection.execute(
            "SELECT zero_epoch, id, kind FROM chunk INDEXED BY chunk_zero WHERE refs = 0"
            " AND (zero_epoch, id) > (?, ?) AND zero_epoch < ?"
            " ORDER BY zero_epoch, id LIMIT ?",
            (*start, _limit(connection), _BATCH),
        ).fetchall()


def _collect_batch(
    index: Index,
    rows: Iterable[Row],
    children: Children,
    unreadable: set[bytes],
    report: CollectReport,
) -> None:
    doomed: list[tuple[bytes, frozenset[bytes]]] = []
    for _, id_, kind in rows:
        if kind != RECIPE:
            doomed.append((id_, frozenset()))
        elif id_ not in unreadable:
            try:
                doomed.append((id_, children(id_)))
            except StorageError:
                unreadable.add(id_)

    def sweep(connection: Connection) -> tuple[int, int]:
        return _sweep(connection, doomed, index.clock())

    count, size_bytes = index.database.write("collect", sweep, frees=True)
    report.chunks += count
    report.stored_bytes += size_bytes


def _sweep(
    connection: Connection, doomed: Iterable[tuple[bytes, frozenset[bytes]]], now: float
) -> tuple[int, int]:
    """Remove what is still unneeded, and the references that it held."""
    limit = _limit(connection)
    count = total = 0
    freed: dict[int, tuple[int, int]] = {}
    for id_, children in doomed:
        row = connection.execute(
            "DELETE FROM chunk WHERE id = ? AND refs = 0 AND zero_epoch < ?"
            " RETURNING pack, stored_bytes",
            (id_, limit),
        ).fetchone()
        if row is None:
            continue
        pack, size_bytes = row
        blobs, freed_bytes = freed.get(pack, (0, 0))
        freed[pack] = (blobs + 1, freed_bytes + size_bytes)
        count += 1
        total += size_bytes
        if children:
            unrefer(connection, children)
    for pack, (blobs, size_bytes) in freed.items():
        lower_live(connection, pack, blobs, size_bytes, now)
    return count, total


def lower_live(connection: Connection, pack: int, blobs: int, size_bytes: int, now: float) -> None:
    """Count what is needed no more in a pack; with the last of it the pack is dead."""
    connection.execute(
        "UPDATE pack SET live_blobs = live_blobs - ?, live_bytes = live_bytes - ? WHERE no = ?",
        (blobs, size_bytes, pack),
    )
    connection.execute(
        "UPDATE pack SET state = ?, changed_at = ? WHERE no = ? AND live_blobs <= 0 AND state = ?",
        (schema.PACK_DEAD, now, pack, schema.PACK_LIVE),
    )


def _forget_open(index: Index) -> None:
    """Forget packs whose puts have all ended; what was stored of them, the inner sweep finds."""

    def forget(connection: Connection) -> None:
        limit = _limit(connection)
        connection.execute(
            "DELETE FROM pack WHERE state = ? AND epoch < ?", (schema.PACK_OPEN, limit)
        )

    index.database.write("collect", forget, frees=True)
