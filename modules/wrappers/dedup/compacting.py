"""Compacting: what is needed of half-empty and small packs goes into new ones."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from modules.errors import NotFound
from modules.wrappers.dedup import schema
from modules.wrappers.dedup.collecting import ShouldStop, lower_live, never
from modules.wrappers.dedup.database import Connection
from modules.wrappers.dedup.domain import MIB
from modules.wrappers.dedup.format import RUN, Blob, damaged, format_trailer
from modules.wrappers.dedup.packs import Pack, PackStream
from modules.wrappers.dedup.rows import BATCH, adopt_pack, batches, count_live
from modules.wrappers.dedup.tools import Tools, read_trailer

SMALL_BYTES: Final = 4 * MIB
LEAST_LIVE: Final = 0.6

_LEAST_GAIN: Final = 256 * 1024


@dataclass(slots=True)
class CompactReport:
    """What a compaction did: packs that were emptied, packs made, and their bytes."""

    emptied: int = 0
    emptied_bytes: int = 0
    made: int = 0
    made_bytes: int = 0


@dataclass(frozen=True, slots=True)
class _Old:
    number: int
    module_data: str
    size_bytes: int
    live_bytes: int


def compact(tools: Tools, should_stop: ShouldStop = never) -> CompactReport:
    """Copy the blobs that are needed, as they are, and note where they are now.

    A crash leaves the old packs as they were, and at most a new one that nobody needs.

    Args:
        should_stop: asked before each new pack; what is left, a later call does.
    """
    report = CompactReport()
    for group in plan(_candidates(tools), tools.domain.pack_bytes):
        if should_stop():
            break
        session = tools.index.begin()  # keeps the new pack's row
        try:
            _merge(tools, group, report)
        finally:
            tools.index.end(session)
    return report


def plan(packs: Iterable[_Old], pack_bytes: int) -> Iterator[list[_Old]]:
    """Yield groups whose live bytes fill one pack.

    A pack that is alone is copied only if that frees at least 256 KiB.
    """
    group: list[_Old] = []
    size = 0
    for pack in packs:
        if group and size + pack.live_bytes > pack_bytes:
            if _is_worth_it(group):
                yield group
            group, size = [], 0
        group.append(pack)
        size += pack.live_bytes
    if _is_worth_it(group):
        yield group


def _is_worth_it(group: list[_Old]) -> bool:
    return len(group) > 1 or any(pack.size_bytes >= pack.live_bytes + _LEAST_GAIN for pack in group)


def _candidates(tools: Tools) -> list[_Old]:
    small = min(SMALL_BYTES, tools.domain.pack_bytes // 4)
    with tools.index.database.reading("compact") as connection:
        rows = connection.execute(
            "SELECT no, module_data, bytes, live_bytes FROM pack WHERE state = ?"
            " AND (live_bytes < ? * bytes OR bytes < ?) ORDER BY no",
            (schema.PACK_LIVE, LEAST_LIVE, small),
        ).fetchall()
    return [_Old(*row) for row in rows]


def _merge(tools: Tools, group: list[_Old], report: CompactReport) -> None:
    new = Pack()
    moves: list[tuple[int, Blob, Blob]] = []
    for old in group:
        for blob, payload in _needed(tools, old):
            offset = blob.offset if blob.codec == RUN else new.size_bytes
            copy = Blob(blob.kind, blob.id, offset, blob.stored_bytes, blob.plain_bytes, blob.codec)
            moves.append((old.number, blob, copy))
            new.size_bytes += len(payload)
            if payload:
                new.payloads.append(payload)
    if not moves:
        return
    trailer = format_trailer(tools.domain, new.uid, [copy for _, _, copy in moves])
    size_bytes = new.size_bytes + len(trailer)
    tools.index.open_pack(new.uid)
    module_data = tools.store(PackStream([*new.payloads, trailer]), size_bytes)
    now = tools.index.clock()
    tools.index.database.write(
        "compact", lambda c: _move(c, new.uid, module_data, size_bytes, moves, now)
    )
    report.made += 1
    report.made_bytes += size_bytes
    report.emptied += len(group)
    report.emptied_bytes += sum(old.size_bytes for old in group)


def _needed(tools: Tools, old: _Old) -> Iterator[tuple[Blob, bytes]]:
    """Yield the blobs that the index says are in this pack, proven to be what it says."""
    try:
        trailer, _ = read_trailer(tools.open_pack, old.module_data)
    except NotFound as error:
        raise damaged("a pack is missing", old.module_data) from error
    blobs = tools.blob_reader(old.module_data)
    try:
        for batch in batches((blob.id for blob in trailer.blobs), BATCH):
            places = tools.find(batch)
            for id_ in batch:
                place = places.get(id_)
                if place is not None and place.pack == old.module_data:
                    payload = blobs.payload(place.pack, place.blob.offset, place.blob)
                    blobs.prove(payload, place.blob)
                    yield place.blob, payload
    finally:
        blobs.close()


def _move(
    connection: Connection,
    uid: bytes,
    module_data: str,
    size_bytes: int,
    moves: list[tuple[int, Blob, Blob]],
    now: float,
) -> None:
    """Point what still is where it was copied from to the copy."""
    number = adopt_pack(connection, uid, module_data, size_bytes, now)
    moved: dict[int, tuple[int, int]] = {}
    for old, blob, copy in moves:
        changed = connection.execute(
            'UPDATE chunk SET pack = ?, "offset" = ? WHERE id = ? AND pack = ? AND "offset" = ?',
            (number, copy.offset, blob.id, old, blob.offset),
        ).rowcount
        if changed:
            blobs, size = moved.get(old, (0, 0))
            moved[old] = (blobs + 1, size + blob.stored_bytes)
    count_live(
        connection, number, sum(b for b, _ in moved.values()), sum(s for _, s in moved.values())
    )
    for old, (blobs, size) in moved.items():
        lower_live(connection, old, blobs, size, now)
