"""Objects by key: what both front ends call. Put, then commit to the index, then delete the old.

A crash between the steps leaves a file that nothing needs (a sweep finds it) or a deletion that
is still to be done (``maintain`` does it); never a key without data.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from modules.errors import InvalidArgument, InvalidName
from modules.extensions import SweepReport
from modules.streams import SupportsRead
from zfsstore.host.adopting import Adoption
from zfsstore.host.blobs import Blobs, MakeContext, Modules
from zfsstore.host.buckets import Bucket, BucketPage, Buckets
from zfsstore.host.catalog.records import Tenant
from zfsstore.host.chores import Chores
from zfsstore.host.errors import CommitUncertain
from zfsstore.host.namespace.indexes import Indexes
from zfsstore.host.namespace.names import encode_key
from zfsstore.host.namespace.records import (
    UNCONDITIONAL,
    Blob,
    Conditions,
    Draft,
    Extent,
    Kind,
    PutOutcome,
    Version,
)
from zfsstore.host.opening import BucketOpener, OpenBucket
from zfsstore.host.publishing import Publishing
from zfsstore.host.reading import ObjectReader
from zfsstore.host.rewrapping import Rewrapping
from zfsstore.host.sweeping import sweep_bucket
from zfsstore.host.upkeep import Upkeep

MAX_METADATA_BYTES: Final = 64 * 1024
_NO_METADATA: Final[Mapping[str, str]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class PutResult:
    """What a put stored; ``created`` is False when it replaced an object."""

    version: Version
    created: bool


class ObjectService(ObjectReader):
    """Buckets and objects of tenants. Safe for many threads; open one in each process.

    Args:
        modules: gives the instance of a configured module by name.
        context: makes the context of a call to a module from its keyword arguments.
        database_url: SQL database for the names of modules that have no volumes of their own.
        cache_dir: for what has to be copied out of snapshots to be read; created when needed.
        tenants: lists all of them, for the modules' own upkeep.

    Attributes:
        publishing: shows buckets as files; its ``start`` keeps them so.
        adoption, rewrapping: take existing files in; give up older keys.
        chores: the modules' own upkeep, from its ``start`` on.

    Raises:
        ConfigurationError: database_url names no database that can be used.
    """

    def __init__(
        self,
        *,
        modules: Modules,
        context: MakeContext,
        database_url: str,
        cache_dir: Path,
        tenants: Callable[[], Iterable[Tenant]] = tuple,
    ) -> None:
        self._indexes = Indexes(database_url, cache_dir=cache_dir)
        self._blobs = Blobs(modules, context)
        self._upkeep = Upkeep(self._indexes, self._blobs)
        opener = BucketOpener(modules, context, self._indexes, self._upkeep.start)
        super().__init__(opener, self._blobs)
        self._buckets = Buckets(modules, context, self._indexes, self._blobs, opener)
        self._modules = modules
        self._context = context
        self.publishing = Publishing(opener, self._indexes, modules, context)
        self.adoption = Adoption(opener, self._blobs, context)
        self.rewrapping = Rewrapping(opener, modules, context)
        self.chores = Chores(tenants, modules, context, cache_dir.with_name("upkeep.lock"))

    def close(self) -> None:
        """Finish what is queued and close every index."""
        self._upkeep.stop()
        self.publishing.stop()
        self.chores.stop()
        self._indexes.close()

    def maintain(self, *, older_than: timedelta = timedelta(0)) -> int:
        """Carry out deletions that a crash or an error left, and close what is idle.

        Done every half minute in the background too.

        Returns:
            How many blobs were deleted.
        """
        return self._upkeep.run_once(older_than=older_than)

    # --- buckets

    def create_bucket(
        self,
        tenant: Tenant,
        name: str,
        *,
        quota_bytes: int | None = None,
        properties: Mapping[str, str] | None = None,
    ) -> Bucket:
        """Create a bucket, durable when this returns.

        Args:
            properties: of its volume (modules.volume_properties).

        Raises:
            VolumeExists, InvalidName
            VolumeNotFound: the tenant's own volume is not there.
            NotSupported: the tenant's module has no such volumes.
        """
        return self._buckets.create(tenant, name, quota_bytes, properties)

    def list_buckets(
        self, tenant: Tenant, *, after: str | None = None, limit: int = 1000
    ) -> BucketPage:
        """Return a page of the tenant's buckets in byte order of their names."""
        return self._buckets.list_buckets(tenant, after, limit)

    def delete_bucket(self, tenant: Tenant, name: str) -> None:
        """Delete an empty bucket; its volume goes to the trash.

        Raises:
            VolumeNotFound: there is none.
            HasDependents: it holds keys or old versions.
        """
        self._buckets.delete(tenant, name)

    # --- objects

    def put_object(
        self,
        tenant: Tenant,
        bucket: str,
        key: str,
        stream: SupportsRead,
        *,
        content_length: int | None,
        content_type: str | None,
        metadata: Mapping[str, Any] = _NO_METADATA,
        conditions: Conditions = UNCONDITIONAL,
        require_parent: bool = True,
    ) -> PutResult:
        """Store *stream* under *key*, durable when this returns, in place of what is there.

        Readers see the old object or the new one, whole. When anything fails, nothing changes.

        Args:
            content_length: how many bytes there must be; None when unknown.
            metadata: JSON values, 64 KiB at most.
            conditions: must hold before the upload and at the moment of the change.
            require_parent: keys are paths: the container that *key* lies in must exist, and no
                name is both an object and a container. S3 knows no such rule.

        Raises:
            PreconditionFailed: a condition does not hold.
            NotFound: no such bucket (VolumeNotFound) or container.
            TruncatedStream, QuotaExceeded, NoSpace: nothing was stored.
            Busy: the volume is being closed off; nothing was stored.
            CommitUncertain: it may be stored or not.
        """
        _check_key(key, require_parent=require_parent)
        _check_metadata(content_type, metadata)
        with self._open(tenant, bucket) as opened:
            opened.index.check_put(key, conditions, as_tree=require_parent)
            blob = self._blobs.put(
                opened.module_name, opened.path, stream, content_length, hold=opened.hold
            )
            draft = Draft(
                kind=Kind.OBJECT,
                extents=(Extent(blob, 0, blob.size_bytes),),
                content_type=content_type,
                metadata=dict(metadata),
            )
            outcome = self._commit(opened, key, draft, blob, conditions, require_parent)
            self._blobs.delete(opened.path, opened.index, outcome.released)
        return PutResult(outcome.version, outcome.created)

    def delete_object(
        self, tenant: Tenant, bucket: str, key: str, *, conditions: Conditions = UNCONDITIONAL
    ) -> None:
        """Delete an object, durable when this returns.

        Raises:
            ObjectNotFound: there is none.
            PreconditionFailed: a condition does not hold.
        """
        with self._open(tenant, bucket) as opened:
            released = opened.index.delete(key, conditions=conditions)
            self._blobs.delete(opened.path, opened.index, released)

    # --- containers inside a bucket, and listing

    def create_container(self, tenant: Tenant, bucket: str, key: str) -> bool:
        """Create the container *key* ("a/b/"); return False when it existed already.

        Raises:
            NotFound: the bucket, or the container it would lie in, does not exist.
            Conflict: an object has its name.
        """
        with self._open(tenant, bucket) as opened:
            return opened.index.create_container(key)

    def delete_container(self, tenant: Tenant, bucket: str, key: str) -> None:
        """Delete an empty container.

        Raises:
            HasDependents: it is not empty.
            ObjectNotFound: there is none.
        """
        with self._open(tenant, bucket) as opened:
            released = opened.index.delete_container(key)
            self._blobs.delete(opened.path, opened.index, released)

    # --- upkeep

    def sweep(
        self, tenant: Tenant, bucket: str, *, older_than: timedelta, dry_run: bool = True
    ) -> SweepReport:
        """Find, and unless *dry_run* quarantine, what the bucket's volume holds and no key needs.

        For a module without volumes it is the module's whole store: all its buckets count.

        Raises:
            NotSupported: the module cannot be swept.
            Unavailable: a module whose objects lie there is not loaded.
            Conflict: objects of another module lie there too.
        """
        with self._open(tenant, bucket) as opened:
            return sweep_bucket(
                opened,
                indexes=self._indexes,
                modules=self._modules,
                context=self._context,
                older_than=older_than,
                dry_run=dry_run,
            )

    def _commit(
        self,
        opened: OpenBucket,
        key: str,
        draft: Draft,
        blob: Blob,
        conditions: Conditions,
        require_parent: bool,
    ) -> PutOutcome:
        """Commit a put to the index; when that fails for certain, the blob goes."""
        try:
            return opened.index.put(key, draft, conditions=conditions, as_tree=require_parent)
        except CommitUncertain:
            raise  # the key may refer to the blob: if not, a sweep finds it
        except Exception:
            self._blobs.discard(opened.path, blob)
            raise


def _check_key(key: str, *, require_parent: bool) -> None:
    encode_key(key)
    if require_parent and key.endswith("/"):
        raise InvalidName(
            "an object's key does not end in a slash", subject=f"key {key[:80]!r}", field="key"
        )


def _check_metadata(content_type: str | None, metadata: Mapping[str, Any]) -> None:
    if content_type is not None and "\0" in content_type:
        raise InvalidArgument("it contains a NUL character", field="content_type")
    try:
        size = len(json.dumps(dict(metadata)))
    except (TypeError, ValueError) as error:
        raise InvalidArgument(f"it is no JSON: {error}", field="metadata") from error
    if size > MAX_METADATA_BYTES:
        raise InvalidArgument(
            f"it has {size} bytes as JSON, at most {MAX_METADATA_BYTES} are allowed",
            field="metadata",
        )
