"""Making a lost index again, from the trailers of the packs and what hosts know of objects."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from modules.errors import Conflict, IntegrityError, StorageError
from modules.streams import ReadStream
from modules.wrappers.dedup import schema
from modules.wrappers.dedup.blobs import BlobReader
from modules.wrappers.dedup.database import Connection
from modules.wrappers.dedup.domain import Domain
from modules.wrappers.dedup.format import RECIPE, Blob, ModuleData, parse_module_data
from modules.wrappers.dedup.index import Index, Place
from modules.wrappers.dedup.recipe import Node, parse_node
from modules.wrappers.dedup.rows import epoch_of
from modules.wrappers.dedup.tools import read_trailer

_OPERATION = "rebuild index"
OpenPack = Callable[[str], ReadStream]


@dataclass(slots=True)
class RebuildReport:
    """What was found.

    Attributes:
        skipped: names that are no pack of the domain, each with the reason.
        lost: module_data of objects whose chunks are not all there, sorted.
    """

    packs: int = 0
    chunks: int = 0
    objects: int = 0
    skipped: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)


def rebuild(
    index: Index,
    key_domain: str,
    open_pack: OpenPack,
    packs: Iterable[str],
    objects: Iterable[str],
    unlock: Callable[[Domain], Domain] = lambda domain: domain,
) -> RebuildReport:
    """Fill an index that has no object; all of it in one transaction.

    Args:
        packs: inner module_data; what is no pack of this domain is skipped.
        objects: module_data of every object that must stay.
        unlock: gives a domain its id key, where that is wrapped; raises StorageError.

    Raises:
        Conflict: the index has objects.
        IntegrityError: no pack belongs to the objects.
        InvalidModuleData: *objects* holds what this module never returned.
    """
    report = RebuildReport()
    wanted = [(name, parse_module_data(name)) for name in sorted(set(objects))]
    found = _read_trailers(open_pack, packs, key_domain, {w.domain for _, w in wanted}, report)
    found.unlock(unlock)

    def fill(connection: Connection) -> None:
        _require_empty(connection, index.database.name)
        for table in ("domain", "chunk", "pack", "session"):
            connection.execute(f"DELETE FROM {table}")  # noqa: S608 - ours
        domain = found.domain
        connection.execute("INSERT INTO domain VALUES (?, ?)", (domain.id, domain.to_bytes()))
        places = _add_packs(connection, found, index.clock())
        _add_edges(connection, domain, open_pack, places)
        _add_objects(connection, domain, wanted, index.clock(), report)
        _count(connection, index.clock())
        report.packs = len(found.packs)
        report.chunks = connection.execute("SELECT count(*) FROM chunk").fetchone()[0]

    index.database.write(_OPERATION, fill)
    return report


def _require_empty(connection: Connection, name: str) -> None:
    if connection.execute("SELECT 1 FROM object LIMIT 1").fetchone() is not None:
        raise Conflict(
            "it has objects",
            operation=_OPERATION,
            subject=name,
            hint="move dedup.db, dedup.db-wal and dedup.db-shm away first",
        )


@dataclass(slots=True)
class _Found:
    domain: Domain
    packs: list[tuple[str, bytes, int, tuple[Blob, ...]]] = field(default_factory=list)
    others: list[Domain] = field(default_factory=list)  # the same, the id key wrapped otherwise

    def unlock(self, unlock: Callable[[Domain], Domain]) -> None:
        """Take a domain whose id key can be had: in older packs older tenant keys wrap it."""
        for last, domain in enumerate((*self.others, self.domain), -len(self.others)):
            try:
                self.domain = unlock(domain)
                return
            except StorageError:
                if not last:
                    raise


def _read_trailers(
    open_pack: OpenPack,
    packs: Iterable[str],
    key_domain: str,
    wanted: set[bytes],
    report: RebuildReport,
) -> _Found:
    found: _Found | None = None
    for name in packs:
        try:
            trailer, size = read_trailer(open_pack, name)
        except StorageError as error:
            report.skipped.append(f"{name}: {error}")
            continue
        domain = trailer.domain
        if domain.key_domain != key_domain or (wanted and domain.id not in wanted):
            report.skipped.append(f"{name}: it is of another domain")
            continue
        if found is None:
            found = _Found(domain)
        if domain != found.domain:
            report.skipped.append(f"{name}: it is of another domain than the first")
            continue
        if domain.wrap not in {known.wrap for known in (found.domain, *found.others)}:
            found.others.append(domain)
        found.packs.append((name, trailer.uid, size, trailer.blobs))
    if found is None:
        raise IntegrityError(
            "none of the packs is of this volume's domain",
            operation=_OPERATION,
            hint="were the packs named, by the inner module's module_data?",
        )
    return found


def _add_packs(connection: Connection, found: _Found, now: float) -> dict[bytes, Place]:
    epoch = epoch_of(connection)
    nodes: dict[bytes, Place] = {}
    for name, uid, size, blobs in found.packs:
        number = connection.execute(
            "INSERT INTO pack (uid, state, module_data, bytes, live_bytes, live_blobs, epoch,"
            " changed_at) VALUES (?, ?, ?, ?, 0, 0, ?, ?) ON CONFLICT (uid) DO NOTHING"
            " RETURNING no",
            (uid, schema.PACK_LIVE, name, size, epoch, now),
        ).fetchone()
        if number is None:
            continue
        connection.executemany(
            "INSERT INTO chunk VALUES (?, ?, ?, ?, ?, ?, ?, 0, ?) ON CONFLICT DO NOTHING",
            [
                (b.id, b.kind, *number, b.offset, b.stored_bytes, b.plain_bytes, b.codec, epoch)
                for b in blobs
            ],
        )
        for blob in blobs:
            if blob.kind == RECIPE:
                nodes.setdefault(blob.id, Place(blob, name))
    return nodes


def _add_edges(
    connection: Connection, domain: Domain, open_pack: OpenPack, places: dict[bytes, Place]
) -> None:
    """Count what recipe nodes refer to; a node that cannot be read, or lacks a child, goes."""
    blobs = BlobReader(domain, lambda ids: {}, open_pack, "its recipes")
    nodes: dict[bytes, Node] = {}
    try:
        for id_, place in places.items():
            try:
                payload = blobs.payload(place.pack, place.blob.offset, place.blob)
                nodes[id_] = parse_node(bytes(blobs.prove(payload, place.blob)), subject=place.pack)
            except StorageError:
                connection.execute("DELETE FROM chunk WHERE id = ?", (id_,))
    finally:
        blobs.close()
    for id_, node in sorted(nodes.items(), key=lambda item: item[1].level):
        marks = [(child,) for child in node.children]
        count = connection.executemany("UPDATE chunk SET refs = refs + 1 WHERE id = ?", marks)
        if count.rowcount != len(marks):
            connection.executemany("UPDATE chunk SET refs = refs - 1 WHERE id = ?", marks)
            connection.execute("DELETE FROM chunk WHERE id = ?", (id_,))


def _add_objects(
    connection: Connection,
    domain: Domain,
    wanted: list[tuple[str, ModuleData]],
    now: float,
    report: RebuildReport,
) -> None:
    for name, one in wanted:
        is_ours = one.domain == domain.id and domain.check_mac(
            one.mac, one.uid, one.root, one.length
        )
        found = (
            connection.execute(
                "UPDATE chunk SET refs = refs + 1 WHERE id = ?", (one.root,)
            ).rowcount
            if is_ours
            else 0
        )
        if not found:
            report.lost.append(name)
            continue
        connection.execute(
            "INSERT INTO object VALUES (?, ?, ?, ?, ?)",
            (one.uid, one.root, one.length, schema.OBJECT_LIVE, now),
        )
        report.objects += 1


def _count(connection: Connection, now: float) -> None:
    connection.execute(
        "UPDATE total SET epoch = epoch + 1, objects = (SELECT count(*) FROM object),"
        " object_bytes = (SELECT coalesce(sum(length), 0) FROM object)"
    )
    connection.execute(
        "UPDATE pack SET (live_blobs, live_bytes) = (SELECT count(*),"
        " coalesce(sum(stored_bytes), 0) FROM chunk WHERE chunk.pack = pack.no)"
    )
    connection.execute(
        "UPDATE pack SET state = ?, changed_at = ? WHERE live_blobs = 0",
        (schema.PACK_DEAD, now),
    )
