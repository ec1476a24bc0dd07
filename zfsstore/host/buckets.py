"""Buckets: volumes of a module that has volumes, else rows in the shared database.

A bucket is deleted in two steps: its index says so for good, then its volume goes. From the
first one on it is gone for clients, whatever becomes of the second: who deletes it again, or
creates one of its name, carries that out. (Were it opened again after a failure, another who
deletes it at the same time could take away what was put into it meanwhile.)
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from modules.errors import Busy, NotSupported, Unavailable, VolumeExists, VolumeNotFound
from modules.extensions import SupportsStateDir, SupportsVolumes
from modules.volumes import Volume, VolumeBackend
from zfsstore.host.backends import create_volume, find_volume
from zfsstore.host.blobs import Blobs, MakeContext, Modules
from zfsstore.host.catalog.records import Tenant
from zfsstore.host.namespace import bucket_changes
from zfsstore.host.namespace.index import parse_bucket
from zfsstore.host.namespace.indexes import Indexes
from zfsstore.host.namespace.names import check_bucket, check_tenant
from zfsstore.host.opening import (
    BucketOpener,
    OpenBucket,
    VolumeModule,
    bucket_path,
    find_row,
    no_such_bucket,
)

_SHARED: Final = 0
"""No bucket has this id; requests that create one are queued under it."""


@dataclass(frozen=True, slots=True)
class Bucket:
    """A bucket; what is None was not asked for, or does not apply.

    Attributes:
        uuid: of its volume.
        created_at: when its index was created.
        quota_bytes: of its volume.
    """

    name: str
    uuid: str | None = None
    quota_bytes: int | None = None
    created_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class BucketPage:
    """Buckets in byte order of their names; ``next_after`` is None at the end."""

    buckets: tuple[Bucket, ...]
    next_after: str | None = None


class Buckets:
    """Creates, finds and deletes buckets.

    Args:
        modules, context: as for Blobs.
        indexes: stays open as long as this is used.
        opener: opens buckets, with the same modules and indexes.
    """

    def __init__(
        self,
        modules: Modules,
        context: MakeContext,
        indexes: Indexes,
        blobs: Blobs,
        opener: BucketOpener,
    ) -> None:
        self._modules = modules
        self._context = context
        self._indexes = indexes
        self._blobs = blobs
        self._opener = opener

    def create(
        self,
        tenant: Tenant,
        name: str,
        quota_bytes: int | None,
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
        path = bucket_path(tenant, check_bucket(name))
        module = self._modules(tenant.policy)
        uuid = None
        if isinstance(module, SupportsVolumes):
            if isinstance(module, VolumeModule):
                self._finish_delete(tenant, name)
            uuid = create_volume(module.volumes, path, quota_bytes, properties)["uuid"]
        elif properties:
            raise NotSupported(
                f"the module {tenant.policy!r} keeps no volumes",
                capability="properties",
                operation="create bucket",
                subject=path,
            )
        if not isinstance(module, VolumeModule):
            self._insert(tenant, name, quota_bytes)
        with self._opener.open(tenant, name) as opened:
            created_at = opened.index.info().created_at
        return Bucket(name, uuid, quota_bytes, created_at)

    def list_buckets(self, tenant: Tenant, after: str | None, limit: int) -> BucketPage:
        """Return a page of the tenant's buckets; for volumes, one walk or command for all."""
        check_tenant(tenant.name)
        module = self._modules(tenant.policy)
        if isinstance(module, SupportsVolumes):
            buckets = _volume_buckets(tenant, module.volumes)
        else:
            buckets = self._shared_buckets(tenant, after, limit + 1)
        start = (after or "").encode()
        buckets = [bucket for bucket in buckets if bucket.name.encode() > start]
        page = tuple(buckets[:limit])
        return BucketPage(page, page[-1].name if len(buckets) > limit else None)

    def delete(self, tenant: Tenant, name: str) -> None:
        """Delete an empty bucket; its volume goes to the trash.

        Raises:
            VolumeNotFound: there is none.
            HasDependents: it holds keys or old versions.
            Busy: its volume was not let go in time; for clients the bucket is gone. Call it again.
        """
        with self._opener.open(tenant, name) as opened:
            volume = _volume_of(opened)
            opened.index.begin_delete()
        self._remove(tenant, name, opened, volume)

    def _remove(self, tenant: Tenant, name: str, opened: OpenBucket, volume: Volume | None) -> None:
        """Carry out a deletion that has begun.

        Args:
            volume: as it was found when the bucket was held: another may have its name by now.
        """
        module = opened.module
        if not isinstance(module, VolumeModule):
            self._finish_pending(tenant, name)
        if isinstance(module, SupportsVolumes):
            if volume is None:
                raise no_such_bucket(opened.path)
            self._close_index(opened)
            module.volumes.delete_volume(volume["uuid"])
        if not isinstance(module, VolumeModule):
            opened.index.delete_row()

    def _close_index(self, opened: OpenBucket) -> None:
        """Close it here, at once; other processes do within a moment of being asked to."""
        if isinstance(opened.module, SupportsStateDir):
            self._indexes.close_volume(opened.module.state_dir(self._context(tenant=opened.path)))

    def _insert(self, tenant: Tenant, name: str, quota_bytes: int | None) -> None:
        values = bucket_changes.new_bucket(
            tenant=tenant.name, name=name, module=tenant.policy, quota_bytes=quota_bytes
        )
        with self._indexes.lease_shared() as store:
            found = find_row(store, tenant, name)
            if found is not None and found.is_deleting:  # a crash came between the two steps
                store.writer.run(found.id, bucket_changes.delete_bucket)
            store.writer.run(_SHARED, lambda tx: bucket_changes.create_bucket(tx, values))

    def _shared_buckets(self, tenant: Tenant, after: str | None, limit: int) -> list[Bucket]:
        parameters = {
            "tenant": tenant.name.encode(),
            "after": (after or "").encode(),
            "limit": limit,
        }
        with self._indexes.lease_shared() as store, store.readers.borrow() as connection:
            rows = connection.execute(store.sql.list_buckets, parameters).fetchall()
        infos = [parse_bucket(row) for row in rows]
        return [Bucket(info.name, None, info.quota_bytes, info.created_at) for info in infos]

    def _finish_pending(self, tenant: Tenant, name: str) -> None:
        """Carry out what is still to be deleted: the rows that remember it will go.

        Raises:
            Busy: a module cannot delete just now.
        """
        with self._opener.open(tenant, name) as opened:
            pending = list(opened.index.pending())
            if self._blobs.delete(opened.path, opened.index, pending, wait=True) < len(pending):
                raise Busy(
                    "objects that were deleted from it cannot be removed just now",
                    operation="delete bucket",
                    subject=opened.path,
                    hint="try again when the storage module works",
                )

    def _finish_delete(self, tenant: Tenant, name: str) -> None:
        """Remove the volume of a bucket whose deletion was begun and not carried out.

        Raises:
            VolumeExists: there is a bucket of this name.
        """
        try:
            with self._opener.open(tenant, name) as opened:
                if not opened.index.info().is_deleting:
                    raise VolumeExists("it exists", operation="create bucket", subject=opened.path)
                volume = _volume_of(opened)
        except (VolumeNotFound, Unavailable):  # none, or what create_volume has to complete
            return
        with suppress(VolumeNotFound):  # another was faster
            self._remove(tenant, name, opened, volume)


def _volume_of(opened: OpenBucket) -> Volume | None:
    module = opened.module
    return find_volume(module.volumes, opened.path) if isinstance(module, SupportsVolumes) else None


def _volume_buckets(tenant: Tenant, volumes: VolumeBackend) -> list[Bucket]:
    """Return all but the restricted: a creation that was cut off is not to be seen."""
    prefix = f"{tenant.name}/"
    found = [
        Bucket(volume["name"].removeprefix(prefix), volume["uuid"], volume["size_bytes"])
        for volume in volumes.list_volumes()
        if volume["name"].startswith(prefix) and volume["state"] != "restricted"
    ]
    return sorted(
        (bucket for bucket in found if "/" not in bucket.name),
        key=lambda bucket: bucket.name.encode(),
    )
