"""Which keys of a published bucket changed since they were last shown as files.

A change to a key and its line in the journal are one transaction, so nothing is ever missed;
buckets that are not published have no journal. The publisher (zfsstore.host.publishing) reads
lines, looks up what each key is *by then*, shows that, and only then forgets the lines: whatever
comes meanwhile adds a line of its own. Doing a line twice is harmless.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from modules.errors import NotFound
from zfsstore.host.namespace.store import Store
from zfsstore.host.namespace.transaction import Transaction

BATCH: Final = 1000


class ViewState(IntEnum):
    """How far the files of a published bucket are; the numbers are stored."""

    CURRENT = 0
    TO_BE_CLEARED = 1
    BUILDING = 2


@dataclass(frozen=True, slots=True)
class ViewStatus:
    """A published bucket's files.

    Attributes:
        module: the vendor module that shows them.
        position: while building, the key up to which all are shown.
        sequence: goes up with all that is shown, so that files can be told from older ones.
    """

    module: str
    state: ViewState
    position: str
    sequence: int


class Journal:
    """The journal of one bucket. Changes are durable when a call returns."""

    def __init__(self, store: Store, bucket_id: int) -> None:
        self._store = store
        self._bucket_id = bucket_id
        self._sql = store.sql

    def status(self) -> ViewStatus | None:
        """Return how far the files are, None when the bucket is not published."""
        with self._store.readers.borrow() as connection:
            row = connection.execute(self._sql.published, {"bucket_id": self._bucket_id}).fetchone()
        if row is None:
            return None
        module, state, position, sequence = row
        return ViewStatus(module, ViewState(state), bytes(position).decode(), sequence)

    def start(self, module: str) -> None:
        """Keep a journal from here on; all files are to be built. Again is silent.

        Args:
            module: the vendor module that shows the files.

        Raises:
            VolumeNotFound: the bucket is being deleted.
        """
        self._store.writer.run(self._bucket_id, lambda tx: _start(tx, module))

    def stop(self) -> None:
        """Keep no journal any more; again is silent."""
        self._store.writer.run(self._bucket_id, _stop, is_deletion=True)

    def advance(
        self,
        *,
        state: ViewState,
        position: str = "",
        sequence: int | None = None,
        last: int | None = None,
        is_cleared: bool = False,
    ) -> int:
        """Record what the files are by now; return the new sequence.

        Args:
            sequence: at least this, when given.
            last: forget the lines up to this one.
            is_cleared: there are none. Otherwise, files that are to be cleared still are.

        Raises:
            NotFound: the bucket is not published any more.
        """

        def work(tx: Transaction) -> int:
            row = tx.run(tx.sql.published, {"bucket_id": tx.bucket_id}).fetchone()
            if row is None:
                raise NotFound("it is not published", operation="publish bucket")
            new: int = max(row[3] + 1, sequence or 0)
            is_left = row[1] == ViewState.TO_BE_CLEARED and not is_cleared
            new_state = ViewState.TO_BE_CLEARED if is_left else state
            values = {"new_state": int(new_state), "position": position.encode(), "sequence": new}
            tx.write(tx.sql.update_published, {"bucket_id": tx.bucket_id, **values})
            if last is not None:
                tx.write(tx.sql.delete_changed_keys, {"bucket_id": tx.bucket_id, "last": last})
            return new

        return self._store.writer.run(self._bucket_id, work, is_deletion=True)

    def changes(self, limit: int = BATCH) -> tuple[list[str], int | None]:
        """Return the oldest changed keys, each once, and their last line; [] and None if none."""
        parameters = {"bucket_id": self._bucket_id, "after": 0, "limit": limit}
        with self._store.readers.borrow() as connection:
            rows = connection.execute(self._sql.changed_keys, parameters).fetchall()
        keys = dict.fromkeys(bytes(row[1]).decode() for row in rows)
        return list(keys), rows[-1][0] if rows else None


def record(tx: Transaction, key: bytes) -> None:
    """Add a line to the journal, if the bucket of this transaction has one."""
    if tx.locked is not None and tx.locked.is_published:
        tx.write(tx.sql.insert_changed_key, {"bucket_id": tx.bucket_id, "key": key})


def _start(tx: Transaction, module: str) -> None:
    tx.bucket.is_published = True  # for the changes of the same batch
    if tx.run(tx.sql.published, {"bucket_id": tx.bucket_id}).fetchone() is None:
        values = {
            "bucket_id": tx.bucket_id,
            "module": module,
            "state": int(ViewState.TO_BE_CLEARED),
            "position": b"",
            "sequence": 1,
            "created_at": time.time_ns() // 1000,
        }
        tx.write(tx.sql.insert_published, values)


def _stop(tx: Transaction) -> None:
    tx.write(tx.sql.delete_published, {"bucket_id": tx.bucket_id})
    tx.write(tx.sql.delete_changed_keys, {"bucket_id": tx.bucket_id, "last": 2**62})
    if tx.locked is not None:
        tx.locked.is_published = False
