"""What one write request does inside a transaction: the only code that changes rows.

Every function may run twice (a batch is repeated when the disk was full), so it works on nothing
but the database and its arguments.
"""

from __future__ import annotations

import secrets
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from modules.errors import (
    Conflict,
    HasDependents,
    InvalidName,
    NotFound,
    ObjectNotFound,
    VolumeExists,
    VolumeNotFound,
)
from zfsstore.host.namespace.names import parent_of, successor
from zfsstore.host.namespace.records import (
    Blob,
    Conditions,
    Draft,
    Extent,
    Kind,
    PendingDelete,
    PutOutcome,
    Version,
    format_metadata,
    parse_time,
)
from zfsstore.host.namespace.schema import CURRENT
from zfsstore.host.namespace.statements import Statements

IN_USE: Final = 0
DELETING: Final = 1
_MAX_TIME: Final = 2**64 - 1


class Cursor(Protocol):
    """The part of a driver's cursor that is used."""

    @property
    def lastrowid(self) -> int | None: ...

    def fetchone(self) -> Any: ...

    def fetchall(self) -> list[Any]: ...


class Connection(Protocol):
    """The part of a driver's connection that is used: sqlite3's and psycopg's are the same."""

    def execute(self, sql: Any, parameters: Any = ..., /) -> Cursor: ...

    def close(self) -> None: ...


@dataclass(slots=True)
class BucketState:
    """What a batch knows about a bucket that it has locked."""

    state: int
    object_id: bytes
    keys: int = 0
    bytes: int = 0


class Transaction:
    """One request's view of the running transaction: one bucket, locked."""

    __slots__ = (
        "_has_lastrowid",
        "added_bytes",
        "added_keys",
        "bucket_id",
        "has_written",
        "locked",
        "run",
        "sql",
    )

    def __init__(
        self,
        connection: Connection,
        statements: Statements,
        bucket_id: int,
        locked: BucketState | None,
        *,
        has_lastrowid: bool,
    ) -> None:
        self.run = connection.execute
        self.sql = statements
        self.bucket_id = bucket_id
        self.added_keys = 0
        self.added_bytes = 0
        self.has_written = False
        self.locked = locked
        self._has_lastrowid = has_lastrowid

    @property
    def bucket(self) -> BucketState:
        """The bucket's row.

        Raises:
            VolumeNotFound: it was deleted meanwhile.
        """
        if self.locked is None or self.locked.state != IN_USE:
            raise VolumeNotFound("the bucket was deleted", operation="change bucket")
        return self.locked

    def write(self, statement: str, values: dict[str, Any]) -> None:
        """Change rows. Every check comes before the first write: see Writer."""
        self.has_written = True
        self.run(statement, values)

    def insert(self, statement: str, values: dict[str, Any]) -> int:
        """Insert a row and return its id."""
        self.has_written = True
        cursor = self.run(statement, values)
        if self._has_lastrowid:
            assert cursor.lastrowid is not None
            return cursor.lastrowid
        return int(cursor.fetchone()[0])

    def has_key_in(self, start: bytes, end: bytes) -> bool:
        """Return whether any current key lies in [start, end)."""
        range_ = {"bucket_id": self.bucket_id, "start": start, "end": end}
        return self.run(self.sql.any_current, range_).fetchone() is not None


def put(
    tx: Transaction, key: bytes, draft: Draft, conditions: Conditions, *, as_tree: bool
) -> PutOutcome:
    """Make *draft* what *key* shows; the object it replaces goes.

    Args:
        as_tree: keys are paths: the container a key lies in must exist, and no name is both an
            object and a container.
    """
    bucket = tx.bucket
    current = tx.run(tx.sql.current, {"bucket_id": tx.bucket_id, "key": key}).fetchone()
    check_conditions(conditions, current, key)
    if as_tree:
        check_tree(tx, key)
    now = time.time_ns() // 1000
    version_id = _new_version_id(now, current[1] if current else None)
    values = {
        "bucket_id": tx.bucket_id,
        "place": CURRENT,
        "key": key,
        "version_id": version_id,
        "kind": int(draft.kind),
        "is_null": 1,
        "size": draft.size_bytes,
        "etag": draft.etag,
        "content_type": draft.content_type,
        "metadata": format_metadata(draft.metadata),
        "attributes": None,
        "modified_at": now,
    }
    released: tuple[PendingDelete, ...] = ()
    if current is None:
        values["object_id"] = new_object_id(bucket.object_id, now)
        values["created_at"] = now
        row = tx.insert(tx.sql.insert_version, values)
        tx.added_keys += 1
        tx.added_bytes += draft.size_bytes
    else:
        row, _, values["object_id"], _, old_size, _, values["created_at"] = current
        released = _release(tx, row, now)
        tx.write(tx.sql.replace_version, {**values, "row": row})
        tx.added_bytes += draft.size_bytes - old_size
    _insert_extents(tx, row, draft.extents)
    return PutOutcome(_to_version(values, draft), current is None, released)


def delete(tx: Transaction, key: bytes, conditions: Conditions) -> tuple[PendingDelete, ...]:
    """Remove what *key* shows.

    Raises:
        ObjectNotFound: it shows nothing.
    """
    _ = tx.bucket
    current = tx.run(tx.sql.current, {"bucket_id": tx.bucket_id, "key": key}).fetchone()
    check_conditions(conditions, current, key)
    if current is None:
        raise ObjectNotFound("there is none", operation="delete object", subject=key.decode())
    return _delete_row(tx, current)


def create_container(tx: Transaction, key: bytes, draft: Draft) -> bool:
    """Record the container *key* (it ends in a slash); return False when it existed already.

    One that existed only because keys lie in it is recorded too, so that it outlives them.
    """
    _ = tx.bucket
    existed = tx.has_key_in(key, successor(key))
    current = {"bucket_id": tx.bucket_id, "key": key}
    if not existed or tx.run(tx.sql.current, current).fetchone() is None:
        put(tx, key, draft, Conditions(), as_tree=True)
    return not existed


def delete_container(tx: Transaction, key: bytes) -> tuple[PendingDelete, ...]:
    """Remove the empty container *key*.

    Raises:
        HasDependents: keys lie in it.
        ObjectNotFound: there is no such container.
    """
    _ = tx.bucket
    if tx.has_key_in(key + b"\0", successor(key)):
        raise HasDependents(
            "it is not empty",
            operation="delete container",
            subject=key.decode(),
            hint="delete what it holds first",
        )
    current = tx.run(tx.sql.current, {"bucket_id": tx.bucket_id, "key": key}).fetchone()
    if current is None:
        raise ObjectNotFound("there is none", operation="delete container", subject=key.decode())
    return _delete_row(tx, current)


def delete_pending(tx: Transaction, done: Sequence[PendingDelete]) -> None:
    """Forget blobs that their modules have deleted."""
    for pending in done:
        # Both columns: SQLite gives the number of a deleted row to a later one.
        tx.write(tx.sql.delete_pending, {"row": pending.id, "module_data": pending.module_data})


def begin_bucket_delete(tx: Transaction) -> None:
    """Stop all writing to the bucket, which must be empty; doing it twice is harmless.

    Raises:
        HasDependents: it holds keys or old versions.
    """
    if tx.locked is None or tx.locked.state == DELETING:
        return
    parameters = {"bucket_id": tx.bucket_id}
    if tx.has_key_in(b"", successor(b"")) or tx.run(tx.sql.any_history, parameters).fetchone():
        raise HasDependents(
            "it is not empty", operation="delete bucket", hint="delete what it holds first"
        )
    _set_state(tx, tx.locked, DELETING)


def abort_bucket_delete(tx: Transaction) -> None:
    """Allow writing again after a deletion that could not be carried out."""
    if tx.locked is not None:
        _set_state(tx, tx.locked, IN_USE)


def new_bucket(
    *, tenant: str = "", name: str = "", module: str = "", quota_bytes: int | None = None
) -> dict[str, Any]:
    """Return the values of statements.insert_bucket; inside a volume it has no name."""
    return {
        "tenant": tenant.encode(),
        "name": name.encode(),
        "module": module,
        "object_id": secrets.token_bytes(16),
        "state": IN_USE,
        "quota_bytes": quota_bytes,
        "created_at": time.time_ns() // 1000,
        "key_count": 0,
        "size_bytes": 0,
        "settings": None,
    }


def create_bucket(tx: Transaction, values: dict[str, Any]) -> int:
    """Insert a bucket into a shared database; return its id.

    Raises:
        VolumeExists: the tenant has one of that name.
    """
    named = {"tenant": values["tenant"], "name": values["name"]}
    if tx.run(tx.sql.find_bucket, named).fetchone() is not None:
        raise VolumeExists("it exists", operation="create bucket", subject=values["name"].decode())
    return tx.insert(tx.sql.insert_bucket, values)


def delete_bucket(tx: Transaction) -> None:
    """Remove the row of a bucket whose deletion has begun."""
    tx.write(tx.sql.delete_bucket, {"bucket_id": tx.bucket_id})


def check_conditions(conditions: Conditions, current: Any, key: bytes) -> None:
    """Compare a row of statements.current, or None, with the caller's conditions.

    Raises:
        PreconditionFailed: they do not hold.
    """
    if conditions.if_match is None and conditions.if_none_match is None:
        return
    etag = None
    if current is not None:
        etag = current[5] or current[1].hex()
    conditions.check(etag, operation="change object", subject=key.decode())


def check_tree(tx: Transaction, key: bytes) -> None:
    """Check that *key* fits into the tree of containers.

    Raises:
        NotFound: the container it would lie in does not exist.
        Conflict: its name is taken, by a container for an object and the other way round.
    """
    parent = parent_of(key)
    if parent and not tx.has_key_in(parent, successor(parent)):
        raise missing_parent(key, parent)
    is_container = key.endswith(b"/")
    if is_container:
        other = {"bucket_id": tx.bucket_id, "key": key[:-1]}
        is_taken = tx.run(tx.sql.current, other).fetchone() is not None
    else:
        is_taken = tx.has_key_in(key + b"/", successor(key + b"/"))
    if is_taken:
        raise name_taken(key)


def missing_parent(key: bytes, parent: bytes) -> NotFound:
    """Return the error for a key whose container does not exist."""
    return NotFound(
        f"there is no container {parent.decode()}",
        operation="create",
        subject=key.decode(),
        hint="create the container first",
    )


def name_taken(key: bytes) -> Conflict:
    """Return the error for a name that is used by the other kind."""
    taken = "an object" if key.endswith(b"/") else "a container"
    return Conflict(
        f"{taken} of that name exists",
        operation="create",
        subject=key.decode(),
        hint="choose another name or delete it first",
    )


def check_container_key(key: bytes) -> bytes:
    """Return *key* if it can name a container.

    Raises:
        InvalidName: it does not end in a slash, or has an empty component.
    """
    if not key.endswith(b"/") or key.startswith(b"/") or b"//" in key:
        raise InvalidName(
            "a container's key ends in one slash and has no empty component",
            subject=key.decode(),
            field="key",
        )
    return key


def new_object_id(bucket_object_id: bytes, now: int) -> bytes:
    """Return 16 bytes that no other object has.

    The bucket's mark (4 bytes, so that an id alone leads to its bucket), the time (7 bytes, so
    that new ids lie together at the end of their index) and chance (5 bytes).
    """
    return bucket_object_id[:4] + now.to_bytes(7, "big") + secrets.token_bytes(5)


def _new_version_id(now: int, newest: bytes | None) -> bytes:
    """Return 16 bytes that sort before *newest*, even when the clock was set back."""
    inverted = _MAX_TIME - now
    if newest is not None:
        inverted = min(inverted, int.from_bytes(newest[:8], "big") - 1)
    return inverted.to_bytes(8, "big") + secrets.token_bytes(8)


def _insert_extents(tx: Transaction, row: int, extents: Sequence[Extent]) -> None:
    blob_ids: dict[Blob, int] = {}
    for ordinal, extent in enumerate(extents):
        blob = extent.blob
        if blob not in blob_ids:
            values = {
                "bucket_id": tx.bucket_id,
                "module": blob.module,
                "module_data": blob.module_data,
                "size": blob.size_bytes,
                "refs": 1 if len(extents) == 1 else sum(e.blob == blob for e in extents),
            }
            blob_ids[blob] = tx.insert(tx.sql.insert_blob, values)
        values = {
            "version": row,
            "ordinal": ordinal,
            "blob": blob_ids[blob],
            "offset": extent.offset,
            "length": extent.length,
        }
        tx.write(tx.sql.insert_extent, values)


def _delete_row(tx: Transaction, current: Any) -> tuple[PendingDelete, ...]:
    row, size = current[0], current[4]
    released = _release(tx, row, time.time_ns() // 1000)
    tx.write(tx.sql.delete_version, {"row": row})
    tx.added_keys -= 1
    tx.added_bytes -= size
    return released


def _release(tx: Transaction, row: int, now: int) -> tuple[PendingDelete, ...]:
    """Drop a version's extents; what no other version needs becomes pending_delete."""
    blobs = tx.run(tx.sql.extent_blobs, {"row": row}).fetchall()
    if not blobs:
        return ()
    tx.write(tx.sql.delete_extents, {"row": row})
    released = []
    for (blob_id, module, module_data, refs), count in Counter(map(tuple, blobs)).items():
        if refs > count:
            tx.write(tx.sql.release_blob, {"row": blob_id, "count": count})
            continue
        tx.write(tx.sql.delete_blob, {"row": blob_id})
        values = {
            "bucket_id": tx.bucket_id,
            "module": module,
            "module_data": module_data,
            "created_at": now,
        }
        pending_id = tx.insert(tx.sql.insert_pending, values)
        released.append(PendingDelete(pending_id, module, module_data))
    return tuple(released)


def _set_state(tx: Transaction, locked: BucketState, state: int) -> None:
    tx.write(tx.sql.set_bucket_state, {"bucket_id": tx.bucket_id, "new_state": state})
    locked.state = state


def _to_version(values: dict[str, Any], draft: Draft) -> Version:
    identifier = values["version_id"].hex()
    return Version(
        key=values["key"].decode(),
        version_id=identifier,
        object_id=bytes(values["object_id"]),
        kind=Kind(draft.kind),
        size_bytes=values["size"],
        etag=draft.etag or identifier,
        content_type=draft.content_type,
        metadata=draft.metadata,
        created_at=parse_time(values["created_at"]),
        modified_at=parse_time(values["modified_at"]),
        extents=tuple(draft.extents),
    )
