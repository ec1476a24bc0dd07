"""Reading and counting rows of the index, within a transaction of the caller's."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Final

from modules.errors import Busy
from modules.wrappers.dedup import schema
from modules.wrappers.dedup.database import Connection
from modules.wrappers.dedup.domain import Domain
from modules.wrappers.dedup.format import RECIPE, Blob

BATCH: Final = 256


def chunk_row(blob: Blob, pack: int, refs: int, epoch: int) -> tuple[object, ...]:
    kind, id_, offset, *rest = blob
    return (id_, kind, pack, offset, *rest, refs, epoch)


def choose(
    connection: Connection, blobs: Sequence[Blob], children: Mapping[bytes, frozenset[bytes]]
) -> tuple[list[Blob], dict[bytes, int]]:
    """Return which blobs of a pack to record, and how many references they hold on which ids."""
    known = touch(connection, [blob.id for blob in blobs])
    there = known | {blob.id for blob in blobs if blob.kind != RECIPE}
    added: list[Blob] = []
    refs: dict[bytes, int] = {}
    for blob in blobs:
        if blob.id in known:
            continue
        if blob.kind == RECIPE:
            below = children[blob.id]
            elsewhere = list(below - there)
            if sum(1 for _ in select(connection, "id", elsewhere)) != len(elsewhere):
                continue
            there.add(blob.id)
            for child in below:
                refs[child] = refs.get(child, 0) + 1
        added.append(blob)
    return added, refs


def batches(items: Iterable[bytes], size: int) -> Iterator[list[bytes]]:
    """Yield lists of at most *size* items."""
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch


def epoch_of(connection: Connection) -> int:
    """Return the epoch."""
    return int(connection.execute("SELECT epoch FROM total").fetchone()[0])


def next_epoch(connection: Connection) -> int:
    """Begin and return the next epoch."""
    row = connection.execute("UPDATE total SET epoch = epoch + 1 RETURNING epoch").fetchone()
    return int(row[0])


def unrefer(connection: Connection, ids: Iterable[bytes]) -> None:
    """Take one reference away from each; what needs nobody from now on, does so from a new epoch.

    What is not there any more is passed over.
    """
    epoch = next_epoch(connection)
    connection.executemany(
        "UPDATE chunk SET refs = refs - 1, zero_epoch = CASE refs WHEN 1 THEN ? ELSE zero_epoch"
        " END WHERE id = ? AND refs > 0",
        [(epoch, id_) for id_ in ids],
    )


def refer(connection: Connection, ids: frozenset[bytes]) -> bool:
    """Add one reference to each, or to none when not all are there."""
    if sum(1 for _ in select(connection, "id", list(ids))) != len(ids):
        return False
    connection.executemany("UPDATE chunk SET refs = refs + 1 WHERE id = ?", [(id_,) for id_ in ids])
    return True


def touch(connection: Connection, ids: Sequence[bytes]) -> set[bytes]:
    """Return which are there, having set the epoch of those that nobody needs."""
    found = dict(select(connection, "id, refs", ids))
    epoch = epoch_of(connection)
    connection.executemany(
        "UPDATE chunk SET zero_epoch = ? WHERE id = ?",
        [(epoch, id_) for id_, refs in found.items() if not refs],
    )
    return set(found)


def select(
    connection: Connection, columns: str, ids: Sequence[bytes]
) -> Iterator[tuple[bytes, int]]:
    for batch in batches(ids, BATCH):
        marks = ",".join("?" * len(batch))
        statement = f"SELECT {columns} FROM chunk WHERE id IN ({marks})"  # noqa: S608 - ours
        yield from connection.execute(statement, batch)


def adopt_pack(
    connection: Connection, uid: bytes, module_data: str, size_bytes: int, now: float
) -> int:
    row = connection.execute(
        "UPDATE pack SET state = ?, module_data = ?, bytes = ?, changed_at = ?"
        " WHERE uid = ? AND state = ? RETURNING no",
        (schema.PACK_LIVE, module_data, size_bytes, now, uid, schema.PACK_OPEN),
    ).fetchone()
    if row is None:
        raise Busy(
            "its pack was given up, because it took too long",
            operation="put object",
            hint="send it again",
        )
    return int(row[0])


def count_live(connection: Connection, number: int, blobs: int, size_bytes: int) -> None:
    """Set what is live in a new pack; one of which nothing is needed is dead at once."""
    connection.execute(
        "UPDATE pack SET live_blobs = ?, live_bytes = ?, state = ? WHERE no = ?",
        (blobs, size_bytes, schema.PACK_LIVE if blobs else schema.PACK_DEAD, number),
    )


def count_objects(connection: Connection, objects: int, size_bytes: int) -> None:
    connection.execute(
        "UPDATE total SET objects = objects + ?, object_bytes = object_bytes + ?",
        (objects, size_bytes),
    )


def first_domain(connection: Connection, domain: Domain) -> tuple[bytes]:
    row = connection.execute("SELECT record FROM domain").fetchone()
    if row is None:
        row = (domain.to_bytes(),)
        connection.execute("INSERT INTO domain VALUES (?, ?)", (domain.id, row[0]))
    found: tuple[bytes] = row
    return found
