"""Volumes by name, on the modules that keep them: what an operator may do to them.

A volume is called "acme" (a tenant's) or "acme/photos" (a bucket's). Which module keeps it is for
the catalog to say, which volumes and snapshots there are for the module's backend.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final, Self

from modules.errors import StorageError
from modules.volumes import OperatorBackend, Snapshot, Volume
from zfsstore.host.backends import (
    clone_backend,
    ensure_volume,
    find_snapshot,
    no_such_snapshot,
    operator_backend,
    snapshot_backend,
    volumes_of,
)
from zfsstore.host.blobs import Modules
from zfsstore.host.catalog import Catalog
from zfsstore.host.specs import check_quota
from zfsstore.host.tenant_rename import rename_tenant
from zfsstore.host.volume_names import VolumeNames, need_bucket
from zfsstore.host.volume_trash import VolumeTrash

__all__ = ["VolumeService", "VolumeSnapshot", "ensure_volume", "volumes_of"]

FORK_PREFIX: Final = "fork-"
"""Names of the snapshots that ``fork`` makes, before the time."""


@dataclass(frozen=True, slots=True)
class VolumeSnapshot:
    """One snapshot of one volume.

    Attributes:
        volume: "acme" or "acme/photos".
        name, uuid: the snapshot's.
        size_bytes: what its removal would free.
        created_at: None when the backend does not say.
    """

    volume: str
    name: str
    uuid: str
    size_bytes: int
    created_at: datetime | None

    @classmethod
    def from_dicts(cls, volume: Volume, snapshot: Snapshot) -> Self:
        """Return what the backend's rows say."""
        time = snapshot.get("create_time")
        return cls(
            volume["name"],
            snapshot["name"],
            snapshot["uuid"],
            snapshot["size_consumed"],
            None if time is None else datetime.fromisoformat(time),
        )


class VolumeService(VolumeTrash):
    """Snapshots, forks, rollback, rename, size and trash of tenants' and buckets' volumes.

    For operators: who may call it is for its caller to check. Safe for many threads.

    Every method that takes a volume's name raises InvalidName for a malformed one, NotFound when
    there is no such tenant or volume, and NotSupported when the tenant's module cannot do it.

    Args:
        catalog: knows the tenants.
        modules: gives the instance of a configured module by name.
    """

    def __init__(self, catalog: Catalog, modules: Modules) -> None:
        self._catalog = catalog
        self._modules = modules
        self._names = VolumeNames(catalog, modules)
        super().__init__(self._names)

    # --- volumes

    def list_volumes(self, tenant: str | None = None) -> list[Volume]:
        """Return the volumes of one tenant, or of all, each before its buckets, by name."""
        tenants = [self._catalog.get_tenant(tenant)] if tenant else self._catalog.list_tenants()
        owners: dict[str, set[str]] = {}
        for owner in tenants:
            owners.setdefault(owner.policy, set()).add(owner.name)
        found: list[Volume] = []
        for policy, names in owners.items():
            backend = volumes_of(self._modules(policy))
            if backend is not None:
                listed = backend.list_volumes()
                found += [v for v in listed if v["name"].partition("/")[0] in names]
        return sorted(found, key=lambda volume: volume["name"].split("/"))

    def get_volume(self, name: str) -> Volume:
        """Return a volume."""
        return self._names.find(name, "get volume")[1]

    def resize(self, name: str, size_bytes: int) -> Volume:
        """Change the quota of a tenant or bucket, in bytes; not below what is used.

        Raises:
            InvalidArgument: more is in use.
        """
        check_quota(size_bytes)
        backend, volume = self._names.find(name, "resize volume")
        changed = backend.patch_volume(volume["uuid"], size_bytes=size_bytes)
        if "/" not in name:  # the catalog has a tenant's quota, too; the volume's counts
            self._catalog.set_tenant(
                replace(self._catalog.get_tenant(name), quota_bytes=size_bytes)
            )
        return changed

    def rename(self, name: str, new_name: str) -> Volume:
        """Rename a bucket, also into another tenant of the same module, or a tenant.

        Clients get 503 while it lasts, and find the bucket under the new name only after it. A
        tenant keeps its users; what was begun for one is finished by calling it again.

        Raises:
            VolumeExists, AlreadyExists: the new name is taken.
            Conflict: the other tenant's data is in another module.
            Busy: the volume is in use, and was not let go in time.
        """
        if "/" not in name:
            return rename_tenant(self._names, name, new_name)
        backend, volume = self._names.find(name, "rename bucket")
        self._names.check_target(name, new_name, "rename bucket")
        return operator_backend(backend, "rename").rename_volume(volume["uuid"], new_name)

    def promote(self, name: str) -> Volume:
        """Let a forked bucket stand by itself; its origin becomes the clone.

        Raises:
            InvalidArgument: it is no fork.
            SnapshotExists: both have a snapshot of the same name.
        """
        backend, volume = self._names.find(name, "promote")
        return operator_backend(backend, "promote").promote_volume(volume["uuid"])

    # --- snapshots

    def create_snapshot(self, name: str, snapshot: str) -> list[VolumeSnapshot]:
        """Freeze a bucket, or a tenant with all its buckets at one and the same moment.

        (On plain directories each volume is consistent in itself; the moments differ.)

        Returns:
            What was made, by volume.

        Raises:
            SnapshotExists: one of them has a snapshot of that name; nothing was made.
        """
        backend, volumes = self._names.find_all(name, "snapshot")
        uuids = [volume["uuid"] for volume in volumes]
        if isinstance(backend, OperatorBackend):
            made = backend.create_snapshots(uuids, snapshot)
        else:
            made = [snapshot_backend(backend).create_snapshot(uuid, snapshot) for uuid in uuids]
        return [
            VolumeSnapshot.from_dicts(volume, row)
            for volume, row in zip(volumes, made, strict=True)
        ]

    def list_snapshots(self, name: str) -> list[VolumeSnapshot]:
        """Return the snapshots of a bucket, or of a tenant and its buckets, oldest first."""
        backend, volumes = self._names.find_all(name, "list snapshots of")
        snapshots = snapshot_backend(backend)
        return [
            VolumeSnapshot.from_dicts(volume, row)
            for volume in volumes
            for row in snapshots.list_snapshots(volume["uuid"])
        ]

    def delete_snapshot(self, name: str, snapshot: str) -> list[VolumeSnapshot]:
        """Destroy a snapshot of a bucket, or of a tenant and of all its buckets that have it.

        When one of several cannot be destroyed, the others may be: call it again.

        Returns:
            What was destroyed.

        Raises:
            SnapshotNotFound: there is none.
            HasDependents: a fork stands on it.
        """
        rows = [row for row in self.list_snapshots(name) if row.name == snapshot]
        if not rows:
            raise no_such_snapshot(name, snapshot, "delete snapshot")
        backend, volumes = self._names.find_all(name, "delete snapshot")
        uuids = {volume["name"]: volume["uuid"] for volume in volumes}
        for row in rows:
            snapshot_backend(backend).delete_snapshot(uuids[row.volume], row.uuid)
        return rows

    def fork(self, name: str, new_name: str, *, snapshot: str | None = None) -> Volume:
        """Make a bucket from a snapshot of another; at once, whatever its size.

        Args:
            new_name: of the same tenant, or of another one whose data is in the same module.
            snapshot: of the bucket; None for its present state, frozen in a new snapshot.

        Raises:
            VolumeExists: the new name is taken.
            SnapshotNotFound: it has no such snapshot.
            Conflict: the other tenant's data is in another module.
        """
        backend, volume = self._names.find(name, "fork")
        self._names.check_target(name, new_name, "fork")
        clones = clone_backend(backend)
        if snapshot is not None:
            row = find_snapshot(clones, volume, snapshot, "fork")
            return clones.create_clone(volume["uuid"], row["uuid"], new_name)
        moment = f"{FORK_PREFIX}{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}"
        row = clones.create_snapshot(volume["uuid"], moment)
        try:
            return clones.create_clone(volume["uuid"], row["uuid"], new_name)
        except StorageError:
            clones.delete_snapshot(volume["uuid"], row["uuid"])
            raise

    def rollback(self, name: str, snapshot: str, *, destroy_newer: bool = False) -> Volume:
        """Make a bucket what it was at a snapshot. What came after it is lost.

        Uploads under way are cut off; clients get 503 while it lasts.

        Raises:
            SnapshotNotFound
            HasDependents: there are newer snapshots and not *destroy_newer*, or forks of them.
            Busy: the bucket is in use, and was not let go in time; nothing was changed.
        """
        need_bucket(name, "roll back", "roll back its buckets, one by one")
        backend, volume = self._names.find(name, "roll back")
        operator = operator_backend(backend, "rollback")
        row = find_snapshot(operator, volume, snapshot, "roll back")
        return operator.rollback_volume(volume["uuid"], row["uuid"], destroy_newer=destroy_newer)
