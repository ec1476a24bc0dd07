"""Reading one bucket's keys; from the live index or from one in a snapshot."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any, Final

from modules.errors import InvalidArgument, VolumeNotFound
from zfsstore.host.namespace import changes, tree
from zfsstore.host.namespace.listing import list_page
from zfsstore.host.namespace.names import encode_key, encode_prefix, parent_of, successor
from zfsstore.host.namespace.records import (
    UNCONDITIONAL,
    Blob,
    BucketInfo,
    Conditions,
    Extent,
    Page,
    PendingDelete,
    Version,
    parse_time,
    parse_version,
)
from zfsstore.host.namespace.schema import VOLUME_BUCKET_ID
from zfsstore.host.namespace.statements import VERSION_COLUMNS
from zfsstore.host.namespace.store import Store
from zfsstore.host.namespace.transaction import DELETING

MAX_PAGE: Final = 10_000
_LIVE_CHUNK: Final = 10_000
_EXTENT: Final = len(VERSION_COLUMNS)


class IndexReader:
    """What can be asked of a bucket's index. Safe for many threads.

    Args:
        store: stays open as long as the index is used.
        bucket_id: 1 in a volume's own database.
    """

    def __init__(self, store: Store, bucket_id: int = VOLUME_BUCKET_ID) -> None:
        self._store = store
        self._bucket_id = bucket_id
        self._sql = store.database.statements

    def get(self, key: str) -> Version | None:
        """Return the current version of *key* with its extents, or None."""
        parameters = {"bucket_id": self._bucket_id, "key": encode_key(key)}
        with self._store.readers.borrow() as connection:
            rows = connection.execute(self._sql.get, parameters).fetchall()
        if not rows:
            return None
        extents = tuple(
            Extent(Blob(module, module_data, size), offset, length)
            for offset, length, module, module_data, size in (row[_EXTENT:] for row in rows)
            if offset is not None
        )
        return parse_version(rows[0], extents)

    def list_keys(
        self, prefix: str = "", *, delimiter: str = "", after: str | None = None, limit: int = 1000
    ) -> Page:
        """Return a page of keys that start with *prefix*, in byte order.

        Args:
            delimiter: roll up keys that contain it after the prefix.
            after: the ``next_after`` of the page before, or any key to start behind.

        Raises:
            InvalidArgument: *limit* is not from 1 to 10,000.
        """
        if not 1 <= limit <= MAX_PAGE:
            raise InvalidArgument(f"must be from 1 to {MAX_PAGE}, not {limit}", field="limit")
        return list_page(
            self._fetch,
            prefix=encode_prefix(prefix),
            delimiter=encode_prefix(delimiter, field="delimiter"),
            after=encode_prefix(after or "", field="after"),
            limit=limit,
        )

    def exists_prefix(self, prefix: str) -> bool:
        """Return whether any current key starts with *prefix*."""
        encoded = encode_prefix(prefix)
        return self._has_key_in(encoded, successor(encoded))

    def is_container(self, key: str) -> bool:
        """Return whether the container *key* (it ends in a slash) exists, by itself or by keys."""
        return key.endswith("/") and self.exists_prefix(key)

    def find_object_id(self, object_id: bytes) -> str | None:
        """Return the key of the object with this id, or None."""
        row = self._one(self._sql.find_object_id, object_id=object_id)
        return None if row is None else bytes(row[0]).decode()

    def info(self) -> BucketInfo:
        """Return the bucket's own row.

        Raises:
            VolumeNotFound: it was deleted meanwhile.
        """
        row = self._one(self._sql.bucket)
        if row is None:
            raise VolumeNotFound("the bucket was deleted", operation="read bucket")
        return parse_bucket(row)

    def check_put(self, key: str, conditions: Conditions, *, as_tree: bool) -> None:
        """Refuse early what ``put`` would refuse now, so that nothing is uploaded in vain.

        Raises:
            PreconditionFailed, NotFound, Conflict: as ``put`` would.
        """
        self._store.database.check_writable()
        encoded = encode_key(key)
        if conditions != UNCONDITIONAL:
            row = self._one(self._sql.current, key=encoded)
            changes.check_conditions(conditions, row, encoded)
        if as_tree:
            parent = parent_of(encoded)
            if parent and not self._has_key_in(parent, successor(parent)):
                raise tree.missing_parent(encoded, parent)
            below = encoded + b"/"
            if self._has_key_in(below, successor(below)):
                raise tree.name_taken(encoded)

    def modules(self) -> list[str]:
        """Return the names of the modules that hold blobs of this bucket, sorted."""
        with self._store.readers.borrow() as connection:
            rows = connection.execute(
                self._sql.blob_modules, {"bucket_id": self._bucket_id}
            ).fetchall()
        return sorted({row[0] for row in rows} | {p.module for p in self.pending()})

    def live_module_data(self, module: str) -> Iterator[str]:
        """Yield the module_data of every blob that must stay: referred to, or still to be deleted.

        Blobs first: one that moves to the pending deletes meanwhile is met there.
        """
        yield from self.needed_module_data(module)
        yield from (pending.module_data for pending in self.pending() if pending.module == module)

    def needed_module_data(self, module: str) -> Iterator[str]:
        """Yield the module_data of every blob that a version refers to."""
        after = 0
        while True:
            rows = self.blobs(after, _LIVE_CHUNK)
            yield from (row[2] for row in rows if row[1] == module)
            if len(rows) < _LIVE_CHUNK:
                return
            after = rows[-1][0]

    def blobs(self, after: int, limit: int) -> list[tuple[int, str, str]]:
        """Return number, module and module_data of the next blobs above number *after*."""
        parameters = {"bucket_id": self._bucket_id, "after": after, "limit": limit}
        with self._store.readers.borrow() as connection:
            return connection.execute(self._sql.live_blobs, parameters).fetchall()

    def pending(self, *, older_than: timedelta = timedelta(0)) -> Iterator[PendingDelete]:
        """Yield the blobs that are to be deleted, oldest first."""
        before = time.time_ns() // 1000 - older_than // timedelta(microseconds=1)
        after = 0
        while True:
            parameters = {
                "bucket_id": self._bucket_id,
                "after": after,
                "before": before,
                "limit": _LIVE_CHUNK,
            }
            with self._store.readers.borrow() as connection:
                rows = connection.execute(self._sql.pending, parameters).fetchall()
            yield from (PendingDelete(*row) for row in rows)
            if len(rows) < _LIVE_CHUNK:
                return
            after = rows[-1][0]

    def _fetch(self, start: bytes, end: bytes, limit: int) -> Sequence[Any]:
        parameters = {"bucket_id": self._bucket_id, "start": start, "end": end, "limit": limit}
        with self._store.readers.borrow() as connection:
            return connection.execute(self._sql.page, parameters).fetchall()

    def _has_key_in(self, start: bytes, end: bytes) -> bool:
        return self._one(self._sql.any_current, start=start, end=end) is not None

    def _one(self, statement: str, **parameters: Any) -> Any:
        with self._store.readers.borrow() as connection:
            return connection.execute(
                statement, {"bucket_id": self._bucket_id, **parameters}
            ).fetchone()


def parse_bucket(row: Sequence[Any]) -> BucketInfo:
    """Decode the columns of statements.BUCKET_COLUMNS."""
    bucket_id, tenant, name, object_id, created, quota, keys, size, state = row
    return BucketInfo(
        id=bucket_id,
        tenant=bytes(tenant).decode(),
        name=bytes(name).decode(),
        object_id=bytes(object_id),
        created_at=parse_time(created),
        quota_bytes=quota,
        key_count=keys,
        size_bytes=size,
        is_deleting=state == DELETING,
    )
