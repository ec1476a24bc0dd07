"""Sweeping: which objects no host knows, and which packs the index needs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import timedelta
from typing import Final

from modules.errors import InvalidArgument, StorageError
from modules.extensions import SweepReport
from modules.wrappers.dedup import schema
from modules.wrappers.dedup.blobs import BlobReader
from modules.wrappers.dedup.database import Connection
from modules.wrappers.dedup.domain import Domain
from modules.wrappers.dedup.format import RECIPE, ModuleData, parse_module_data
from modules.wrappers.dedup.index import Index
from modules.wrappers.dedup.tools import Tools

_BATCH: Final = 1000

Row = tuple[bytes, bytes, int]


def sweep_objects(
    index: Index, domain: Domain, live: Iterable[str], *, older_than: timedelta, dry_run: bool
) -> SweepReport:
    """Find the objects that are not *live*; unless *dry_run* set them aside, with their chunks.

    What is live goes into a temporary table, so memory stays bounded.

    Raises:
        InvalidModuleData: *live* holds what this module cannot have returned; nothing is done.
        KeyDestroyed: objects were found, and their names cannot be proven any more.
    """
    if older_than < timedelta(0):
        raise InvalidArgument("must not be negative", field="older_than")
    oldest_kept = index.clock() - older_than.total_seconds()
    with index.database.reading("sweep") as connection:
        connection.execute("CREATE TEMP TABLE IF NOT EXISTS live (uid BLOB PRIMARY KEY, name TEXT)")
        connection.execute("DELETE FROM live")  # of a sweep that failed
        elsewhere = _fill(connection, live, domain)
        scanned, young, lost, gone = _compare(connection, oldest_kept)
    names = tuple(sorted(str(ModuleData.make(domain, *row)) for row in lost))
    if lost and not dry_run:
        _set_aside(index, lost)
    return SweepReport(
        scanned=scanned,
        unreferenced=names,
        unreferenced_bytes=sum(length for _, _, length in lost),
        quarantined=not dry_run,
        too_young=young,
        missing=tuple(sorted([*elsewhere, *gone])),
    )


def _compare(connection: Connection, oldest_kept: float) -> tuple[int, int, list[Row], list[str]]:
    """Compare the objects with the temporary table, which goes.

    Returns:
        How many there are, how many too young to judge; who is not in the table; who only there.
    """
    connection.execute("BEGIN")
    scanned, young = connection.execute(
        "SELECT count(*), count(*) FILTER (WHERE changed_at > ?"
        " AND NOT EXISTS (SELECT 1 FROM live WHERE live.uid = object.uid))"
        " FROM object WHERE state = ?",
        (oldest_kept, schema.OBJECT_LIVE),
    ).fetchone()
    lost: list[Row] = connection.execute(
        "SELECT uid, root, length FROM object WHERE state = ? AND changed_at <= ?"
        " AND NOT EXISTS (SELECT 1 FROM live WHERE live.uid = object.uid)",
        (schema.OBJECT_LIVE, oldest_kept),
    ).fetchall()
    gone = connection.execute(
        "SELECT name FROM live WHERE NOT EXISTS"
        " (SELECT 1 FROM object WHERE object.uid = live.uid AND object.state = ?)",
        (schema.OBJECT_LIVE,),
    ).fetchall()
    connection.execute("COMMIT")
    connection.execute("DROP TABLE live")
    return scanned, young, lost, [name for (name,) in gone]


def pack_names(index: Index) -> Iterator[str]:
    """Yield the inner module_data of all packs that must stay; dead ones may have readers."""
    start = -1
    while True:
        with index.database.reading("sweep") as connection:
            rows = connection.execute(
                "SELECT no, module_data FROM pack WHERE state != ? AND no > ? ORDER BY no LIMIT ?",
                (schema.PACK_OPEN, start, _BATCH),
            ).fetchall()
        if not rows:
            return
        yield from (module_data for _, module_data in rows)
        start = rows[-1][0]


def objects_in(tools: Tools, packs: frozenset[str]) -> tuple[str, ...]:
    """Return the module_data of the live objects that need a chunk in one of *packs*, sorted.

    Reads all recipes: for a store that is damaged already.
    """
    with tools.index.database.reading("sweep") as connection:
        rows = connection.execute(
            "SELECT uid, root, length FROM object WHERE state = ?", (schema.OBJECT_LIVE,)
        ).fetchall()
    blobs = tools.blob_reader("its recipes")
    known: dict[bytes, bool] = {}
    try:
        hit = [row for row in rows if _needs(blobs, row[1], packs, known)]
    finally:
        blobs.close()
    return tuple(sorted(str(ModuleData.make(tools.domain, *row)) for row in hit))


def joined(ours: SweepReport, theirs: SweepReport, lost: tuple[str, ...]) -> SweepReport:
    """Return one report of objects and packs; *lost* are the objects whose packs are missing."""
    return SweepReport(
        scanned=ours.scanned + theirs.scanned,
        unreferenced=tuple(sorted({*ours.unreferenced, *theirs.unreferenced})),
        unreferenced_bytes=ours.unreferenced_bytes + theirs.unreferenced_bytes,
        quarantined=ours.quarantined,
        too_young=ours.too_young + theirs.too_young,
        missing=tuple(sorted({*ours.missing, *lost})),
    )


def _fill(connection: Connection, live: Iterable[str], domain: Domain) -> list[str]:
    """Put what is live into the temporary table; return what belongs to another domain."""
    elsewhere = []
    for name in live:
        parsed = parse_module_data(name)
        if parsed.domain == domain.id:
            connection.execute(
                "INSERT INTO live VALUES (?, ?) ON CONFLICT DO NOTHING", (parsed.uid, name)
            )
        else:
            elsewhere.append(name)
    return elsewhere


def _set_aside(index: Index, rows: Iterable[Row]) -> None:
    """Quarantine objects: nobody sees them, but all that they need stays."""
    now = index.clock()

    def update(connection: Connection) -> None:
        for uid, _, length in rows:
            changed = connection.execute(
                "UPDATE object SET state = ?, changed_at = ? WHERE uid = ? AND state = ?",
                (schema.OBJECT_QUARANTINED, now, uid, schema.OBJECT_LIVE),
            ).rowcount
            connection.execute(
                "UPDATE total SET objects = objects - ?, object_bytes = object_bytes - ?",
                (changed, changed * length),
            )

    index.database.write("sweep", update, frees=True)


def _needs(blobs: BlobReader, id_: bytes, packs: frozenset[str], known: dict[bytes, bool]) -> bool:
    if id_ not in known:
        try:
            known[id_] = _look(blobs, id_, packs, known)
        except StorageError:
            known[id_] = True
    return known[id_]


def _look(blobs: BlobReader, id_: bytes, packs: frozenset[str], known: dict[bytes, bool]) -> bool:
    place = blobs.find([id_])[id_]
    if place.pack in packs:
        return True
    if place.blob.kind != RECIPE:
        return False
    node = blobs.node(id_)
    children = node.children
    if node.level:
        return any(_needs(blobs, child, packs, known) for child in children)
    return any(found.pack in packs for found in blobs.find(list(children)).values())
