"""Every SQL statement of the namespace, written once in SQLAlchemy Core and compiled once.

They run on the driver's own connection: with ten thousand transactions a second, building and
dispatching them through Core each time would cost more than SQLite does (bench/index_commits.py).
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cache
from typing import Final

from sqlalchemy import (
    BindParameter,
    ClauseElement,
    ColumnElement,
    Dialect,
    bindparam,
    delete,
    exists,
    insert,
    literal_column,
    select,
    update,
)

from zfsstore.host.namespace.schema import (
    CURRENT,
    HISTORY,
    blob,
    bucket,
    changed_key,
    extent,
    pending_delete,
    published,
    published_volume,
    version,
)

VERSION_COLUMNS: Final = (
    version.c.id,
    version.c.key,
    version.c.version_id,
    version.c.object_id,
    version.c.kind,
    version.c.size,
    version.c.etag,
    version.c.content_type,
    version.c.metadata,
    version.c.created_at,
    version.c.modified_at,
)
BUCKET_COLUMNS: Final = (
    bucket.c.id,
    bucket.c.tenant,
    bucket.c.name,
    bucket.c.object_id,
    bucket.c.created_at,
    bucket.c.quota_bytes,
    bucket.c.key_count,
    bucket.c.size_bytes,
    bucket.c.state,
)

_bucket_id: Final[BindParameter[int]] = bindparam("bucket_id")
# As literals: a partial index serves only a query whose text implies the index's own condition.
_in_bucket = version.c.bucket_id == _bucket_id
_current = _in_bucket & (version.c.place == literal_column(str(CURRENT)))
_history = _in_bucket & (version.c.place == literal_column(str(HISTORY)))
_is_key = version.c.key == bindparam("key")
_is_in_range = (version.c.key >= bindparam("start")) & (version.c.key < bindparam("end"))
_one: Final[ColumnElement[int]] = literal_column("1")
_zero: Final[ColumnElement[int]] = literal_column(
    "0"
)  # SQLite's compiler would make a missing offset a parameter
_OLD_BLOB = (blob.c.id, blob.c.module, blob.c.module_data, blob.c.refs)

_ELEMENTS: Final[dict[str, ClauseElement]] = {
    # reading
    "get": select(
        *VERSION_COLUMNS,
        extent.c.offset,
        extent.c.length,
        blob.c.module,
        blob.c.module_data,
        blob.c.size,
    )
    .select_from(
        version.outerjoin(extent, extent.c.version == version.c.id).outerjoin(
            blob, blob.c.id == extent.c.blob
        )
    )
    .where(_current, _is_key)
    .order_by(extent.c.ordinal),
    "page": select(*VERSION_COLUMNS)
    .where(_current, _is_in_range)
    .order_by(version.c.key)
    .limit(bindparam("limit"))
    .offset(_zero),
    "any_current": select(version.c.key)
    .where(_current, _is_in_range)
    .order_by(version.c.key)
    .limit(_one)
    .offset(_zero),
    "any_history": select(_one).where(_history).limit(_one).offset(_zero),
    "find_object_id": select(version.c.key).where(
        _current, version.c.object_id == bindparam("object_id")
    ),
    "live_blobs": select(blob.c.id, blob.c.module, blob.c.module_data)
    .where(blob.c.bucket_id == _bucket_id, blob.c.id > bindparam("after"))
    .order_by(blob.c.id)
    .limit(bindparam("limit"))
    .offset(_zero),
    "blob_modules": select(blob.c.module).distinct().where(blob.c.bucket_id == _bucket_id),
    "pending": select(pending_delete.c.id, pending_delete.c.module, pending_delete.c.module_data)
    .where(
        pending_delete.c.bucket_id == _bucket_id,
        pending_delete.c.id > bindparam("after"),
        pending_delete.c.created_at <= bindparam("before"),
    )
    .order_by(pending_delete.c.id)
    .limit(bindparam("limit"))
    .offset(_zero),
    "bucket": select(*BUCKET_COLUMNS).where(bucket.c.id == _bucket_id),
    "find_bucket": select(*BUCKET_COLUMNS).where(
        bucket.c.tenant == bindparam("tenant"), bucket.c.name == bindparam("name")
    ),
    "list_buckets": select(*BUCKET_COLUMNS)
    .where(bucket.c.tenant == bindparam("tenant"), bucket.c.name > bindparam("after"))
    .order_by(bucket.c.name)
    .limit(bindparam("limit"))
    .offset(_zero),
    "all_buckets": select(bucket.c.id, bucket.c.tenant, bucket.c.name).order_by(bucket.c.id),
    "published": select(
        published.c.module, published.c.state, published.c.position, published.c.sequence
    ).where(published.c.bucket_id == _bucket_id),
    "changed_keys": select(changed_key.c.id, changed_key.c.key)
    .where(changed_key.c.bucket_id == _bucket_id, changed_key.c.id > bindparam("after"))
    .order_by(changed_key.c.id)
    .limit(bindparam("limit"))
    .offset(_zero),
    "published_volumes": select(
        published_volume.c.tenant, published_volume.c.name, published_volume.c.module
    ).order_by(published_volume.c.tenant, published_volume.c.name),
    # writing
    "lock_bucket": select(
        bucket.c.state,
        bucket.c.object_id,
        exists().where(published.c.bucket_id == _bucket_id).label("is_published"),
    )
    .where(bucket.c.id == _bucket_id)
    .with_for_update(),
    "current": select(
        version.c.id,
        version.c.version_id,
        version.c.object_id,
        version.c.kind,
        version.c.size,
        version.c.etag,
        version.c.created_at,
    ).where(_current, _is_key),
    "insert_version": insert(version).values(
        {column: bindparam(column.name) for column in version.c if column.name != "id"}
    ),
    "replace_version": update(version)
    .where(version.c.id == bindparam("row"))
    .values(
        {
            column: bindparam(column.name)
            for column in version.c
            if column.name not in ("id", "bucket_id", "place", "key", "object_id", "created_at")
        }
    ),
    "delete_version": delete(version).where(version.c.id == bindparam("row")),
    "insert_blob": insert(blob).values(
        {
            blob.c.bucket_id: _bucket_id,
            blob.c.module: bindparam("module"),
            blob.c.module_data: bindparam("module_data"),
            blob.c.size: bindparam("size"),
            blob.c.refs: bindparam("refs"),
        }
    ),
    "insert_extent": insert(extent).values({column: bindparam(column.name) for column in extent.c}),
    "extent_blobs": select(*_OLD_BLOB)
    .select_from(extent.join(blob, blob.c.id == extent.c.blob))
    .where(extent.c.version == bindparam("row")),
    "delete_extents": delete(extent).where(extent.c.version == bindparam("row")),
    "release_blob": update(blob)
    .where(blob.c.id == bindparam("row"))
    .values(refs=blob.c.refs - bindparam("count")),
    "rewrap_blob": update(blob)
    .where(blob.c.id == bindparam("row"), blob.c.module_data == bindparam("old"))
    .values({blob.c.module_data: bindparam("new")}),
    "delete_blob": delete(blob).where(blob.c.id == bindparam("row")),
    "insert_pending": insert(pending_delete).values(
        {column: bindparam(column.name) for column in pending_delete.c if column.name != "id"}
    ),
    "delete_pending": delete(pending_delete).where(
        pending_delete.c.id == bindparam("row"),
        pending_delete.c.module_data == bindparam("module_data"),
    ),
    "count": update(bucket)
    .where(bucket.c.id == _bucket_id)
    .values(
        key_count=bucket.c.key_count + bindparam("keys"),
        size_bytes=bucket.c.size_bytes + bindparam("bytes"),
    ),
    "insert_bucket": insert(bucket).values(
        {column: bindparam(column.name) for column in bucket.c if column.name != "id"}
    ),
    "set_bucket_state": update(bucket)
    .where(bucket.c.id == _bucket_id)
    .values({bucket.c.state: bindparam("new_state")}),
    "delete_bucket": delete(bucket).where(bucket.c.id == _bucket_id),
    "insert_published": insert(published).values(
        {column: bindparam(column.name) for column in published.c}
    ),
    "update_published": update(published)
    .where(published.c.bucket_id == _bucket_id)
    .values(
        state=bindparam("new_state"),
        position=bindparam("position"),
        sequence=bindparam("sequence"),
    ),
    "delete_published": delete(published).where(published.c.bucket_id == _bucket_id),
    "insert_changed_key": insert(changed_key).values(
        {changed_key.c.bucket_id: _bucket_id, changed_key.c.key: bindparam("key")}
    ),
    "delete_changed_keys": delete(changed_key).where(
        changed_key.c.bucket_id == _bucket_id, changed_key.c.id <= bindparam("last")
    ),
    "insert_published_volume": insert(published_volume).values(
        {column: bindparam(column.name) for column in published_volume.c}
    ),
    "delete_published_volume": delete(published_volume).where(
        published_volume.c.tenant == bindparam("tenant"),
        published_volume.c.name == bindparam("name"),
    ),
}


@dataclass(frozen=True, slots=True)
class Statements:
    """SQL texts with named parameters, in one dialect."""

    get: str
    page: str
    any_current: str
    any_history: str
    find_object_id: str
    live_blobs: str
    blob_modules: str
    pending: str
    bucket: str
    find_bucket: str
    list_buckets: str
    all_buckets: str
    lock_bucket: str
    current: str
    insert_version: str
    replace_version: str
    delete_version: str
    insert_blob: str
    insert_extent: str
    extent_blobs: str
    delete_extents: str
    release_blob: str
    rewrap_blob: str
    delete_blob: str
    insert_pending: str
    delete_pending: str
    count: str
    insert_bucket: str
    set_bucket_state: str
    delete_bucket: str
    published: str
    changed_keys: str
    published_volumes: str
    insert_published: str
    update_published: str
    delete_published: str
    insert_changed_key: str
    delete_changed_keys: str
    insert_published_volume: str
    delete_published_volume: str


@cache
def compile_statements(dialect: Dialect) -> Statements:
    """Return every statement as text of *dialect*."""
    return Statements(
        **{
            field.name: str(_ELEMENTS[field.name].compile(dialect=dialect))
            for field in fields(Statements)
        }
    )
