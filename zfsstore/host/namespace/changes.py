"""Changes to keys inside a transaction: with bucket_changes the only code that changes rows.

Every function may run twice (a batch is repeated when the disk was full, or without a request
that failed), so it works on nothing but the database and its arguments.
"""

from __future__ import annotations

import secrets
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

from modules.errors import HasDependents, ObjectNotFound
from zfsstore.host.namespace import journal
from zfsstore.host.namespace.names import successor
from zfsstore.host.namespace.records import (
    UNCONDITIONAL,
    Blob,
    Conditions,
    Draft,
    Extent,
    Kind,
    PendingDelete,
    PutOutcome,
    Version,
    format_metadata,
    format_time,
    parse_time,
)
from zfsstore.host.namespace.schema import CURRENT
from zfsstore.host.namespace.transaction import Transaction
from zfsstore.host.namespace.tree import check_tree

_MAX_TIME: Final = 2**64 - 1


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
        "modified_at": now if draft.modified_at is None else format_time(draft.modified_at),
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
    journal.record(tx, key)
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
    return _delete_row(tx, key, current)


def create_container(tx: Transaction, key: bytes, draft: Draft) -> bool:
    """Record the container *key* (it ends in a slash); return False when it existed already.

    One that existed only because keys lie in it is recorded too, so that it outlives them.
    """
    _ = tx.bucket
    existed = tx.has_key_in(key, successor(key))
    current = {"bucket_id": tx.bucket_id, "key": key}
    if not existed or tx.run(tx.sql.current, current).fetchone() is None:
        put(tx, key, draft, UNCONDITIONAL, as_tree=True)
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
    return _delete_row(tx, key, current)


def delete_pending(tx: Transaction, done: Sequence[PendingDelete]) -> None:
    """Forget blobs that their modules have deleted."""
    for pending in done:
        # Both columns: SQLite gives the number of a deleted row to a later one.
        tx.write(tx.sql.delete_pending, {"row": pending.id, "module_data": pending.module_data})


def rewrap(tx: Transaction, changes: Sequence[tuple[int, str, str]]) -> int:
    """Replace the module_data of blobs that still have what they had; return how many had not.

    Args:
        changes: the blob's number, its module_data, and what is to be kept instead.
    """
    lost = 0
    for row, old, new in changes:
        tx.has_written = True
        done = tx.run(tx.sql.rewrap_blob, {"row": row, "old": old, "new": new})
        lost += not done.rowcount
    return lost


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


def _delete_row(tx: Transaction, key: bytes, current: Any) -> tuple[PendingDelete, ...]:
    row, size = current[0], current[4]
    released = _release(tx, row, time.time_ns() // 1000)
    tx.write(tx.sql.delete_version, {"row": row})
    journal.record(tx, key)
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
