"""The index of one volume: which chunks there are, who needs them, who is writing.

Every change is one transaction. What keeps chunks from being collected while they are used:

- a put is a *session* that began at an epoch; epochs only grow;
- a chunk whose count of references is, or becomes, zero has the epoch of that moment; whoever
  uses such a chunk sets it anew;
- the collector removes what has been unneeded since before the oldest session began;
- an object is recorded only while its session is there.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple

from modules.errors import Busy, IntegrityError, Unavailable
from modules.wrappers.dedup import schema
from modules.wrappers.dedup.database import Connection, Database
from modules.wrappers.dedup.domain import UID_BYTES, Domain
from modules.wrappers.dedup.format import Blob
from modules.wrappers.dedup.rows import (
    BATCH,
    adopt_pack,
    batches,
    choose,
    chunk_row,
    count_live,
    count_objects,
    epoch_of,
    first_domain,
    next_epoch,
    refer,
    select,
    touch,
    unrefer,
)

LEASE_S: Final = 600.0
_FIND: Final = (
    'SELECT c.kind, c.id, c."offset", c.stored_bytes, c.plain_bytes, c.codec, p.module_data'
    " FROM chunk c JOIN pack p ON p.no = c.pack WHERE c.id IN"
)
_INSERT_CHUNK: Final = "INSERT INTO chunk VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
_new: Final = tuple.__new__  # namedtuples, without the call of a function in Python for each


class Place(NamedTuple):
    """Where a chunk lies.

    Attributes:
        pack: its pack's module_data in the inner module.
    """

    blob: Blob
    pack: str


class Index:
    """The index in *database*.

    Args:
        generation: of the volume's fence: sessions of another one ended with a rollback.
        clock: seconds since 1970; decides nothing but when a lease is up.
    """

    def __init__(
        self,
        database: Database,
        generation: Callable[[], int] = lambda: 0,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.database = database
        self.generation = generation
        self.clock = clock
        self._domain_id: bytes | None = None

    def domain(self, make: Callable[[], Domain] | None) -> Domain | None:
        """Return the domain of this index; *make* gives it when there is none yet."""
        if self.database.is_absent:
            return None
        with self.database.reading("open index") as connection:
            row = connection.execute("SELECT record FROM domain").fetchone()
        if row is None and make is not None:
            row = self.database.write("open index", lambda c: first_domain(c, make()))
        if row is None:
            return None
        domain = Domain.from_bytes(row[0], subject=self.database.name)
        self._domain_id = domain.id
        return domain

    def replace_domain(self, old: Domain, new: Domain) -> None:
        """Store the id key as *new* has it wrapped, unless another was faster."""
        records = (new.to_bytes(), new.id, old.to_bytes())
        statement = "UPDATE domain SET record = ? WHERE id = ? AND record = ?"
        self.database.write("wrap id key", lambda c: c.execute(statement, records))

    # put

    def begin(self) -> bytes:
        """Begin a session and return its id.

        Raises:
            Unavailable: the index was made anew since it was opened.
        """
        session = secrets.token_bytes(UID_BYTES)

        def insert(connection: Connection) -> None:
            known = connection.execute("SELECT id FROM domain").fetchone()
            if known != (self._domain_id,):
                raise Unavailable(
                    "its index was made anew", operation="begin put", hint="try again"
                )
            epoch = next_epoch(connection)
            lease = self.clock() + LEASE_S
            row = (session, epoch, lease, self.generation())
            connection.execute("INSERT INTO session VALUES (?, ?, ?, ?)", row)

        self.database.write("begin put", insert)
        return session

    def renew(self, session: bytes) -> None:
        """Renew a lease.

        Raises:
            Busy: the session has ended.
        """

        def update(connection: Connection) -> None:
            self._require(connection, session)
            connection.execute(
                "UPDATE session SET lease_until = ? WHERE id = ?",
                (self.clock() + LEASE_S, session),
            )

        self.database.write("renew put", update)

    def end(self, session: bytes) -> None:
        """End a session that records nothing; again is silent."""
        self.database.write(
            "end put",
            lambda c: c.execute("DELETE FROM session WHERE id = ?", (session,)),
            frees=True,
        )

    def claim(self, ids: Sequence[bytes]) -> set[bytes]:
        """Return which of *ids* are stored; these stay until the caller's session ends."""
        with self.database.reading("look up chunks") as connection:
            refs = dict(select(connection, "id, refs", ids))
        unneeded = [id_ for id_, count in refs.items() if not count]
        if not unneeded:
            return set(refs)
        touched = self.database.write("look up chunks", lambda c: touch(c, unneeded))
        return refs.keys() - set(unneeded) | touched

    def open_pack(self, uid: bytes) -> None:
        """Note that a pack is about to be stored."""

        def insert(connection: Connection) -> None:
            connection.execute(
                "INSERT INTO pack (uid, state, module_data, bytes, live_bytes, live_blobs, epoch,"
                " changed_at) VALUES (?, ?, '', 0, 0, 0, ?, ?)",
                (uid, schema.PACK_OPEN, epoch_of(connection), self.clock()),
            )

        self.database.write("open pack", insert)

    def commit_pack(
        self,
        uid: bytes,
        module_data: str,
        size_bytes: int,
        blobs: Sequence[Blob],
        children: Mapping[bytes, frozenset[bytes]],
    ) -> None:
        """Record a pack that is durable, and its blobs with no references.

        What is stored elsewhere already stays there. A recipe node whose children are not all
        there any more is left out: its put has lost its session, and will be told.

        Args:
            blobs: nodes come after what they refer to.
            children: of each recipe node.

        Raises:
            Busy: the pack was given up meanwhile.
        """

        def commit(connection: Connection) -> None:
            number = adopt_pack(connection, uid, module_data, size_bytes, self.clock())
            epoch = epoch_of(connection)
            added, refs = choose(connection, blobs, children)
            connection.executemany(
                _INSERT_CHUNK, [chunk_row(b, number, refs.pop(b.id, 0), epoch) for b in added]
            )
            connection.executemany(
                "UPDATE chunk SET refs = refs + ? WHERE id = ?",
                [(n, id_) for id_, n in refs.items()],
            )
            count_live(connection, number, len(added), sum(b.stored_bytes for b in added))

        self.database.write("record pack", commit)

    def commit_object(self, session: bytes, uid: bytes, root: bytes, length: int) -> None:
        """Record an object and end its session: from now on it is there.

        Raises:
            Busy: the session has ended: its lease was up, or the volume was rolled back.
        """

        def commit(connection: Connection) -> None:
            self._require(connection, session)
            connection.execute("DELETE FROM session WHERE id = ?", (session,))
            if not refer(connection, frozenset((root,))):
                raise IntegrityError(
                    "the root of its recipe is not there",
                    operation="put object",
                    hint="call fsck of the module",
                )
            connection.execute(
                "INSERT INTO object VALUES (?, ?, ?, ?, ?)",
                (uid, root, length, schema.OBJECT_LIVE, self.clock()),
            )
            count_objects(connection, 1, length)

        self.database.write("put object", commit)

    # get, delete

    def has_object(self, uid: bytes, root: bytes, length: int) -> bool:
        """Return whether this object is there."""
        if self.database.is_absent:
            return False
        with self.database.reading("look up object") as connection:
            row = connection.execute(
                "SELECT root, length, state FROM object WHERE uid = ?", (uid,)
            ).fetchone()
        return bool(row == (root, length, schema.OBJECT_LIVE))

    def find(self, ids: Sequence[bytes]) -> dict[bytes, Place]:
        """Return where these chunks are; those that are not stored are left out."""
        found: dict[bytes, Place] = {}
        with self.database.reading("look up chunks") as connection:
            for batch in batches(ids, BATCH):
                marks = ",".join("?" * len(batch))
                rows = connection.execute(f"{_FIND} ({marks})", batch).fetchall()
                found |= {row[1]: _new(Place, (_new(Blob, row[:6]), row[6])) for row in rows}
        return found

    def statistics(self) -> dict[str, object]:
        """Return what is stored, and how much room it takes."""
        counts = (0, 0, 0, 0, 0, 0)
        if not self.database.is_absent:
            with self.database.reading("get statistics") as connection:
                counts = connection.execute(
                    "SELECT objects, object_bytes, (SELECT count(*) FROM pack WHERE state = 1),"
                    " (SELECT coalesce(sum(bytes), 0) FROM pack WHERE state != 0),"
                    " (SELECT coalesce(sum(live_bytes), 0) FROM pack WHERE state = 1),"
                    " (SELECT coalesce(sum(live_blobs), 0) FROM pack WHERE state = 1) FROM total"
                ).fetchone()
        names = ("objects", "logical_bytes", "packs", "stored_bytes", "needed_bytes", "chunks")
        return {"format": "D1", **dict(zip(names, counts, strict=True))}

    def delete_object(self, uid: bytes) -> bool:
        """Forget an object; return False when it was not there."""

        def delete(connection: Connection) -> bool:
            row = connection.execute(
                "DELETE FROM object WHERE uid = ? RETURNING root, length, state", (uid,)
            ).fetchone()
            if row is None:
                return False
            root, length, state = row
            unrefer(connection, (root,))
            if state == schema.OBJECT_LIVE:
                count_objects(connection, -1, -length)
            return True

        with self.database.reading("delete object") as connection:
            there = connection.execute("SELECT 1 FROM object WHERE uid = ?", (uid,)).fetchone()
        return there is not None and self.database.write("delete object", delete, frees=True)

    def _require(self, connection: Connection, session: bytes) -> None:
        row = connection.execute(
            "SELECT generation FROM session WHERE id = ?", (session,)
        ).fetchone()
        if row is None or row[0] != self.generation():
            raise Busy(
                "it took too long, or the volume was rolled back meanwhile",
                operation="put object",
                hint="send it again",
            )
