"""From a tenant and a bucket's name to its index and its module, live or as of a snapshot."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol, runtime_checkable

from modules import StorageModule, fences
from modules.context import Context
from modules.errors import InvalidName, NotSupported, VolumeNotFound
from modules.extensions import (
    SupportsFence,
    SupportsStateDir,
    SupportsVolumeIdentity,
    SupportsVolumes,
)
from modules.volumes import SnapshotBackend
from zfsstore.host.blobs import MakeContext, Modules
from zfsstore.host.catalog.records import Tenant
from zfsstore.host.namespace.index import Index, parse_bucket
from zfsstore.host.namespace.indexes import Indexes
from zfsstore.host.namespace.names import check_bucket, check_tenant
from zfsstore.host.namespace.records import BucketInfo
from zfsstore.host.namespace.store import Store
from zfsstore.zfs.names import check_short_name

_MAX_SNAPSHOT_NAME: Final = 255


@runtime_checkable
class VolumeModule(SupportsVolumes, SupportsStateDir, Protocol):
    """A module that keeps a bucket's objects and its index in one volume."""


@dataclass(frozen=True, slots=True)
class OpenBucket:
    """A bucket in use: its index, and where its objects go.

    Attributes:
        path: "acme/photos", the context's tenant.
        module_name: new objects go there.
        hold: of the volume's fence; None when the module has none.
        snapshot: as of which it is, for reading only; None for the live bucket.
    """

    path: str
    module_name: str
    module: StorageModule
    index: Index
    hold: fences.Hold | None = None
    snapshot: str | None = None


@dataclass(frozen=True, slots=True)
class _Found:
    """A module and what it offers; asking a Protocol is slow."""

    module: StorageModule
    volumes: VolumeModule | None
    fenced: SupportsFence | None
    has_snapshots: bool


class BucketOpener:
    """Opens buckets.

    Args:
        modules, context: as for Blobs.
        indexes: stays open as long as this is used.
        on_open: called first, each time; what closes indexes that others wait for must run.
    """

    def __init__(
        self,
        modules: Modules,
        context: MakeContext,
        indexes: Indexes,
        on_open: Callable[[], None],
    ) -> None:
        self._modules = modules
        self._on_open = on_open
        self._context = context
        self._indexes = indexes
        self._found: dict[str, _Found] = {}

    @contextmanager
    def open(self, tenant: Tenant, name: str) -> Iterator[OpenBucket]:
        """Give a bucket's index and module for as long as the block runs.

        As long as it runs nobody else replaces, renames or removes the bucket's volume; who
        wants to, waits: ``hold`` says so.

        Raises:
            VolumeNotFound: there is no such bucket.
            Busy: somebody is alone in its volume, or waits to be.
        """
        self._on_open()
        path = bucket_path(tenant, name)
        found = self._find_module(tenant.policy)
        with ExitStack() as stack:
            fence = hold = None
            if found.fenced is not None:
                fence = found.fenced.fence(self._context(tenant=path))
                hold = stack.enter_context(fences.hold(fence))
            if found.volumes is not None:
                context = self._context(tenant=path)
                state_dir: Path = found.volumes.state_dir(context)
                index = stack.enter_context(
                    self._indexes.lease(
                        state_dir,
                        path,
                        fence=fence,
                        is_replica=lambda: _is_replica(found.module, context, state_dir),
                    )
                )
            else:
                store = stack.enter_context(self._indexes.lease_shared())
                info = find_row(store, tenant, name)
                if info is None:
                    raise no_such_bucket(path)
                index = Index(store, info.id)
            yield OpenBucket(path, tenant.policy, found.module, index, hold)

    @contextmanager
    def open_snapshot(self, tenant: Tenant, name: str, snapshot: str) -> Iterator[OpenBucket]:
        """Give a bucket as it was, for reading only.

        Raises:
            VolumeNotFound, SnapshotNotFound
            InvalidName: no snapshot can have this name.
            NotSupported: the module has no snapshots.
        """
        self._on_open()
        path = bucket_path(tenant, name)
        _check_snapshot_name(snapshot)
        found = self._find_module(tenant.policy)
        if found.volumes is None or not found.has_snapshots:
            raise NotSupported(
                f"the module {tenant.policy!r}, which holds it, has no snapshots",
                capability="snapshots",
                operation="read snapshot of bucket",
                subject=path,
            )
        state_dir: Path = found.volumes.state_dir(self._context(tenant=path, snapshot=snapshot))
        with self._indexes.lease_snapshot(state_dir) as index:
            yield OpenBucket(path, tenant.policy, found.module, index, snapshot=snapshot)

    def _find_module(self, name: str) -> _Found:
        module = self._modules(name)
        found = self._found.get(name)
        if found is None or found.module is not module:
            volumes = module if isinstance(module, VolumeModule) else None
            found = self._found[name] = _Found(
                module,
                volumes,
                module if isinstance(module, SupportsFence) else None,
                volumes is not None and isinstance(volumes.volumes, SnapshotBackend),
            )
        return found


def _check_snapshot_name(name: str) -> None:
    check_short_name(name, field="snapshot")
    if len(name) > _MAX_SNAPSHOT_NAME:
        raise InvalidName(
            f"it has {len(name)} characters, at most {_MAX_SNAPSHOT_NAME} are allowed",
            operation="read snapshot",
            subject=f"{name[:80]}...",
            field="snapshot",
        )


def _is_replica(module: StorageModule, context: Context, state_dir: Path) -> bool:
    """Return whether a volume may only be read: says its module, or the file system."""
    if isinstance(module, SupportsVolumeIdentity) and module.identity(context).is_read_only:
        return True
    return bool(os.statvfs(state_dir).f_flag & os.ST_RDONLY)


def find_row(store: Store, tenant: Tenant, name: str) -> BucketInfo | None:
    """Return a bucket's row in the shared database, or None."""
    parameters = {"tenant": tenant.name.encode(), "name": name.encode()}
    with store.readers.borrow() as connection:
        row = connection.execute(store.sql.find_bucket, parameters).fetchone()
    return None if row is None else parse_bucket(row)


def bucket_path(tenant: Tenant, bucket: str) -> str:
    """Return "acme/photos", checked."""
    return f"{check_tenant(tenant.name)}/{check_bucket(bucket)}"


def no_such_bucket(path: str) -> VolumeNotFound:
    """Return the error for a bucket that is not there, or is being deleted."""
    return VolumeNotFound(
        "there is none", operation="open bucket", subject=path, hint="create it first"
    )
