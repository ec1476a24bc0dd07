"""Comparing the index with the packs. Beside writers: all rows are those of one moment.

| level | what is compared |
|-------|------------------|
| 0 | rows with each other, and with the packs: are they there, with the size noted |
| 1 | rows with the trailers of their packs |
| 2 | every chunk with its id: reads everything |
| 3 | counts of references with the recipes; only this can be repaired |
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, Final

from modules.errors import InvalidArgument, NotFound, StorageError
from modules.wrappers.dedup import schema
from modules.wrappers.dedup.blobs import BlobReader
from modules.wrappers.dedup.database import Connection, Database
from modules.wrappers.dedup.format import RECIPE, RUN, Blob
from modules.wrappers.dedup.recipe import parse_node
from modules.wrappers.dedup.rows import next_epoch
from modules.wrappers.dedup.tools import Tools, read_trailer

LEVELS: Final = range(4)
MAX_PROBLEMS: Final = 1000


@dataclass(slots=True)
class FsckReport:
    """What was looked at and found.

    Attributes:
        problems: at most 1,000; is_clean tells whether there was any.
        repaired: how many counts of references were put right.
    """

    packs: int = 0
    chunks: int = 0
    objects: int = 0
    problem_count: int = 0
    problems: list[str] = field(default_factory=list)
    repaired: int = 0

    @property
    def is_clean(self) -> bool:
        """True when nothing was wrong."""
        return not self.problem_count

    def add(self, problem: str) -> None:
        """Note a problem."""
        self.problem_count += 1
        if len(self.problems) < MAX_PROBLEMS:
            self.problems.append(problem)


def check(
    tools: Tools, *, level: int, repair: bool, progress: Callable[[int], None] = lambda packs: None
) -> FsckReport:
    """Compare up to *level*; with *repair* put counts of references right (level 3).

    Args:
        progress: called with the number of packs that were looked at since the last call.

    Raises:
        InvalidArgument: there is no such level.
    """
    if type(level) is not int or level not in LEVELS:
        raise InvalidArgument(f"must be 0 to {LEVELS[-1]}", field="level")
    report = FsckReport()
    with tools.index.database.reading("check index") as connection:
        connection.execute("BEGIN")
        _check_rows(connection, report)
        for pack, rows in _packs(tools.index.database, connection):
            report.packs += 1
            report.chunks += len(rows)
            _check_pack(tools, report, pack, rows, level)
            progress(1)
        wrong = _check_refs(tools, connection, report) if level >= 3 else {}
        connection.execute("COMMIT")
    if repair and wrong:
        report.repaired = tools.index.database.write(
            "repair counts of references", lambda c: _put_right(c, wrong)
        )
    return report


def _check_rows(connection: Connection, report: FsckReport) -> None:
    live, quarantined, size_bytes = connection.execute(
        "SELECT count(*) FILTER (WHERE state = 0), count(*) FILTER (WHERE state = 1),"
        " coalesce(sum(length) FILTER (WHERE state = 0), 0) FROM object"
    ).fetchone()
    report.objects = live + quarantined
    noted = connection.execute("SELECT objects, object_bytes FROM total").fetchone()
    if noted != (live, size_bytes):
        report.add(f"the index counts {noted[0]} objects of {noted[1]} bytes, not {live} of them")
    for uid, root in connection.execute(
        "SELECT uid, root FROM object"
        " WHERE NOT EXISTS (SELECT 1 FROM chunk WHERE chunk.id = object.root)"
    ):
        report.add(f"object {uid.hex()}: its root {root.hex()} is not in the index")
    for (id_,) in connection.execute(
        "SELECT id FROM chunk WHERE NOT EXISTS"
        " (SELECT 1 FROM pack WHERE pack.no = chunk.pack AND pack.state = ?)",
        (schema.PACK_LIVE,),
    ):
        report.add(f"chunk {id_.hex()}: it is in no pack that there is")


@dataclass(frozen=True, slots=True)
class _Pack:
    number: int
    name: str
    size_bytes: int
    live_blobs: int
    live_bytes: int


def _packs(database: Database, connection: Connection) -> Iterator[tuple[_Pack, list[Blob]]]:
    """Yield each live pack with the blobs that the index has in it."""
    rows = database.stream(
        connection,
        "SELECT p.no, p.module_data, p.bytes, p.live_blobs, p.live_bytes, c.kind, c.id,"
        ' c."offset", c.stored_bytes, c.plain_bytes, c.codec'
        " FROM pack p LEFT JOIN chunk c ON c.pack = p.no WHERE p.state = ? ORDER BY p.no",
        (schema.PACK_LIVE,),
    )
    for pack, group in groupby(rows, key=lambda row: row[:5]):
        yield _Pack(*pack), [Blob(*row[5:]) for row in group if row[5] is not None]


def _check_pack(
    tools: Tools, report: FsckReport, pack: _Pack, rows: list[Blob], level: int
) -> None:
    noted = (pack.live_blobs, pack.live_bytes)
    found = (len(rows), sum(blob.stored_bytes for blob in rows))
    if noted != found:
        report.add(f"pack {pack.name}: it counts {noted} blobs and bytes, not {found}")
    for blob in rows:
        if blob.codec != RUN and blob.offset + blob.stored_bytes > pack.size_bytes:
            report.add(f"chunk {blob.id.hex()}: it lies outside of pack {pack.name}")
    try:
        _check_content(tools, report, (pack.name, pack.size_bytes), rows, level)
    except NotFound:
        if _is_live(tools, pack.number):  # else it was emptied and collected meanwhile
            report.add(f"pack {pack.name}: it is missing")
    except StorageError as error:
        report.add(f"pack {pack.name}: {error}")


def _is_live(tools: Tools, number: int) -> bool:
    with tools.index.database.reading("check index") as connection:
        row = connection.execute("SELECT state FROM pack WHERE no = ?", (number,)).fetchone()
    return bool(row == (schema.PACK_LIVE,))


def _check_content(
    tools: Tools, report: FsckReport, pack: tuple[str, int], rows: list[Blob], level: int
) -> None:
    name, size = pack
    if level == 0:
        with tools.open_pack(name) as stream:
            found = stream.seek(0, 2)
        if found != size:
            report.add(f"pack {name}: it has {found} of {size} bytes")
        return
    trailer, found = read_trailer(tools.open_pack, name)
    if found != size:
        report.add(f"pack {name}: it has {found} of {size} bytes")
    if trailer.domain.id != tools.domain.id:
        report.add(f"pack {name}: it is of another domain")
        return
    listed = {blob.id: blob for blob in trailer.blobs}
    for blob in rows:
        if listed.get(blob.id) != blob:
            report.add(f"chunk {blob.id.hex()}: pack {name} has it elsewhere, or not at all")
    if level >= 2:
        _check_blobs(tools, report, name, rows)


def _check_blobs(tools: Tools, report: FsckReport, name: str, rows: list[Blob]) -> None:
    blobs = tools.blob_reader(name)
    try:
        for blob in sorted(rows, key=lambda blob: blob.offset):
            try:
                blobs.prove(blobs.payload(name, blob.offset, blob), blob)
            except StorageError as error:
                report.add(f"chunk {blob.id.hex()}: {error}")
    finally:
        blobs.close()


def _check_refs(tools: Tools, connection: Connection, report: FsckReport) -> dict[bytes, int]:
    """Return by how much counts are wrong; nothing when a recipe cannot be read."""
    connection.execute(
        "CREATE TEMP TABLE IF NOT EXISTS need (id BLOB PRIMARY KEY, n INTEGER NOT NULL)"
    )
    connection.execute("DELETE FROM need")
    connection.execute("INSERT INTO need SELECT root, count(*) FROM object GROUP BY root")
    blobs = tools.blob_reader("its recipes")
    try:
        is_readable = _count_edges(connection, blobs, report)
    finally:
        blobs.close()
    wrong: dict[bytes, int] = {}
    for id_, refs, needed in connection.execute(
        "SELECT c.id, c.refs, coalesce(n.n, 0) FROM chunk c LEFT JOIN need n ON n.id = c.id"
        " WHERE c.refs != coalesce(n.n, 0)"
    ).fetchall():
        report.add(f"chunk {id_.hex()}: it has {refs} references, {needed} are right")
        wrong[id_] = needed - refs
    for (id_,) in connection.execute(
        "SELECT id FROM need WHERE NOT EXISTS (SELECT 1 FROM chunk WHERE chunk.id = need.id)"
    ).fetchall():
        report.add(f"chunk {id_.hex()}: it is needed, but not in the index")
    connection.execute("DELETE FROM need")
    return wrong if is_readable else {}


def _count_edges(connection: Connection, blobs: BlobReader, report: FsckReport) -> bool:
    is_readable = True
    cursor: Any = connection.execute(
        'SELECT c.id FROM chunk c WHERE c.kind = ? ORDER BY c.pack, c."offset"', (RECIPE,)
    )
    for (id_,) in cursor.fetchall():
        try:
            kind, content = blobs.read(id_)
            node = parse_node(bytes(content), subject=id_.hex())
        except StorageError as error:
            report.add(f"recipe node {id_.hex()}: {error}")
            is_readable = False
            continue
        assert kind == RECIPE
        connection.executemany(
            "INSERT INTO need VALUES (?, 1) ON CONFLICT (id) DO UPDATE SET n = need.n + 1",
            [(child,) for child in node.children],
        )
    return is_readable


def _put_right(connection: Connection, wrong: dict[bytes, int]) -> int:
    """Add the differences: what changed meanwhile has changed both sides alike."""
    epoch = next_epoch(connection)
    return connection.executemany(
        "UPDATE chunk SET refs = CASE WHEN refs + ? < 0 THEN 0 ELSE refs + ? END, zero_epoch = ?"
        " WHERE id = ?",
        [(difference, difference, epoch, id_) for id_, difference in wrong.items()],
    ).rowcount
