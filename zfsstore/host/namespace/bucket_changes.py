"""Changes to buckets inside a transaction; all but ``new_bucket`` may run twice."""

from __future__ import annotations

import secrets
import time
from typing import Any

from modules.errors import HasDependents, VolumeExists
from zfsstore.host.namespace.names import successor
from zfsstore.host.namespace.transaction import DELETING, IN_USE, BucketState, Transaction


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
    """Remove the row of a bucket whose deletion has begun; another may have its id by now."""
    if tx.locked is not None and tx.locked.state == DELETING:
        tx.write(tx.sql.delete_bucket, {"bucket_id": tx.bucket_id})


def _set_state(tx: Transaction, locked: BucketState, state: int) -> None:
    tx.write(tx.sql.set_bucket_state, {"bucket_id": tx.bucket_id, "new_state": state})
    locked.state = state
