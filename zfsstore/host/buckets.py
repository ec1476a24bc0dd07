"""Buckets: volumes of a module that has volumes, else rows in the shared database."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final, Protocol, runtime_checkable

from modules import StorageModule
from modules.errors import Busy, Unavailable, VolumeExists, VolumeNotFound
from modules.extensions import SupportsStateDir, SupportsVolumes
from modules.volumes import VolumeBackend
from zfsstore.host.backends import find_volume
from zfsstore.host.blobs import Blobs, MakeContext, Modules
from zfsstore.host.catalog.records import Tenant
from zfsstore.host.namespace import bucket_changes
from zfsstore.host.namespace.index import Index, parse_bucket
from zfsstore.host.namespace.indexes import Indexes
from zfsstore.host.namespace.names import check_bucket, check_tenant
from zfsstore.host.namespace.records import BucketInfo
from zfsstore.host.namespace.store import Store

_SHARED: int = 0
"""No bucket has this id; requests that create one are queued under it."""

_OTHER_WORKERS_S: Final = 10.0
"""Other workers close an idle index within seconds (upkeep); until then ZFS says busy."""

_RETRY_S: Final = 0.5


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


@dataclass(frozen=True, slots=True)
class OpenBucket:
    """A bucket in use: its index, and where its objects go.

    Attributes:
        path: "acme/photos", the context's tenant.
        module_name: new objects go there.
    """

    path: str
    module_name: str
    module: StorageModule
    index: Index


@runtime_checkable
class _VolumeModule(SupportsVolumes, SupportsStateDir, Protocol):
    """A module that keeps a bucket's objects and its index in one volume."""


class Buckets:
    """Creates, finds and deletes buckets, and opens their indexes.

    Args:
        modules, context: as for Blobs.
        indexes: stays open as long as this is used.
    """

    def __init__(
        self, modules: Modules, context: MakeContext, indexes: Indexes, blobs: Blobs
    ) -> None:
        self._modules = modules
        self._context = context
        self._indexes = indexes
        self._blobs = blobs
        self._found: dict[str, tuple[StorageModule, _VolumeModule | None]] = {}

    def create(self, tenant: Tenant, name: str, quota_bytes: int | None) -> Bucket:
        """Create a bucket, durable when this returns.

        Raises:
            VolumeExists, InvalidName
            VolumeNotFound: the tenant's own volume is not there.
        """
        path = _path(tenant, check_bucket(name))
        module = self._modules(tenant.policy)
        uuid = None
        if isinstance(module, SupportsVolumes):
            if isinstance(module, _VolumeModule):
                self._finish_delete(tenant, name, module.volumes)
            uuid = module.volumes.create_volume(path, quota_bytes)["uuid"]
        if not isinstance(module, _VolumeModule):
            self._insert(tenant, name, quota_bytes)
        with self.open(tenant, name) as opened:
            created_at = opened.index.info().created_at
        return Bucket(name, uuid, quota_bytes, created_at)

    def get(self, tenant: Tenant, name: str) -> Bucket:
        """Return a bucket, from its index alone: without uuid and, for a volume, its quota.

        Raises:
            VolumeNotFound: there is none, or it is being deleted.
        """
        with self.open(tenant, name) as opened:
            info = opened.index.info()
        if info.is_deleting:
            raise _not_found(_path(tenant, name))
        return Bucket(name, None, info.quota_bytes, info.created_at)

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
        """
        with self.open(tenant, name) as opened:
            opened.index.begin_delete()
            module, path = opened.module, opened.path
        try:
            if not isinstance(module, _VolumeModule):
                self._finish_pending(tenant, name)
            if isinstance(module, SupportsVolumes):
                self._delete_volume(path, module)
            if not isinstance(module, _VolumeModule):
                self._delete_row(tenant, name)
        except BaseException:
            with self.open(tenant, name) as opened:
                opened.index.abort_delete()
            raise

    @contextmanager
    def open(self, tenant: Tenant, name: str) -> Iterator[OpenBucket]:
        """Give a bucket's index and module for as long as the block runs.

        Raises:
            VolumeNotFound: there is no such bucket.
        """
        path = _path(tenant, name)
        module, volume_module = self._find_module(tenant.policy)
        if volume_module is not None:
            state_dir: Path = volume_module.state_dir(self._context(tenant=path))
            with self._indexes.lease(state_dir, path) as index:
                yield OpenBucket(path, tenant.policy, module, index)
            return
        with self._indexes.lease_shared() as store:
            info = self._find(store, tenant, name)
            if info is None:
                raise _not_found(path)
            yield OpenBucket(path, tenant.policy, module, Index(store, info.id))

    def _find_module(self, name: str) -> tuple[StorageModule, _VolumeModule | None]:
        """Return a module, and once more if it has volumes; asking a Protocol is slow."""
        module = self._modules(name)
        found = self._found.get(name)
        if found is None or found[0] is not module:
            found = (module, module if isinstance(module, _VolumeModule) else None)
            self._found[name] = found
        return found

    def _find(self, store: Store, tenant: Tenant, name: str) -> BucketInfo | None:
        parameters = {"tenant": tenant.name.encode(), "name": name.encode()}
        with store.readers.borrow() as connection:
            row = connection.execute(store.sql.find_bucket, parameters).fetchone()
        return None if row is None else parse_bucket(row)

    def _insert(self, tenant: Tenant, name: str, quota_bytes: int | None) -> None:
        values = bucket_changes.new_bucket(
            tenant=tenant.name, name=name, module=tenant.policy, quota_bytes=quota_bytes
        )
        with self._indexes.lease_shared() as store:
            found = self._find(store, tenant, name)
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
        with self.open(tenant, name) as opened:
            pending = list(opened.index.pending())
            if self._blobs.delete(opened.path, opened.index, pending, wait=True) < len(pending):
                raise Busy(
                    "objects that were deleted from it cannot be removed just now",
                    operation="delete bucket",
                    subject=opened.path,
                    hint="try again when the storage module works",
                )

    def _delete_row(self, tenant: Tenant, name: str) -> None:
        with self._indexes.lease_shared() as store:
            info = self._find(store, tenant, name)
            if info is not None:
                store.writer.run(info.id, bucket_changes.delete_bucket)

    def _delete_volume(self, path: str, module: SupportsVolumes) -> None:
        if isinstance(module, _VolumeModule):
            self._indexes.close_volume(module.state_dir(self._context(tenant=path)))
        volume = find_volume(module.volumes, path)
        if volume is None:
            raise _not_found(path)
        deadline = time.monotonic() + _OTHER_WORKERS_S
        while True:
            try:
                module.volumes.delete_volume(volume["uuid"])
                return
            except Busy:
                if time.monotonic() > deadline:
                    raise
                time.sleep(_RETRY_S)

    def _finish_delete(self, tenant: Tenant, name: str, volumes: VolumeBackend) -> None:
        """Remove a volume that a crash left while its bucket was being deleted."""
        try:
            with self.open(tenant, name) as opened:
                if not opened.index.info().is_deleting:
                    raise VolumeExists("it exists", operation="create bucket", subject=opened.path)
                module, path = opened.module, opened.path
        except (VolumeNotFound, Unavailable):  # none, or what create_volume has to complete
            return
        if isinstance(module, SupportsVolumes):
            self._delete_volume(path, module)


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


def _path(tenant: Tenant, bucket: str) -> str:
    return f"{check_tenant(tenant.name)}/{check_bucket(bucket)}"


def _not_found(path: str) -> VolumeNotFound:
    return VolumeNotFound(
        "there is none", operation="open bucket", subject=path, hint="create it first"
    )
