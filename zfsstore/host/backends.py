"""From a storage module to its volumes, to the tier that an operation needs, and by name."""

from __future__ import annotations

from modules import StorageModule
from modules.errors import NotSupported, SnapshotNotFound, VolumeExists, VolumeNotFound
from modules.extensions import SupportsVolumes
from modules.volumes import (
    CloneBackend,
    OperatorBackend,
    Snapshot,
    SnapshotBackend,
    Volume,
    VolumeBackend,
)
from zfsstore.host.catalog.records import Tenant


def volumes_of(module: StorageModule) -> VolumeBackend | None:
    """Return a module's volumes, None when it keeps none."""
    return module.volumes if isinstance(module, SupportsVolumes) else None


def volume_backend(module: StorageModule, name: str) -> VolumeBackend:
    """Return the volumes of the module called *name*.

    Raises:
        NotSupported: it keeps none.
    """
    backend = volumes_of(module)
    if backend is None:
        raise _cannot("volumes", f"the module {name!r} keeps no volumes")
    return backend


def snapshot_backend(backend: VolumeBackend) -> SnapshotBackend:
    """Return the backend, which can make snapshots.

    Raises:
        NotSupported: it cannot.
    """
    if not isinstance(backend, SnapshotBackend):
        raise _cannot("snapshots", "these volumes have no snapshots")
    return backend


def clone_backend(backend: VolumeBackend) -> CloneBackend:
    """Return the backend, which can clone.

    Raises:
        NotSupported: it cannot.
    """
    if not isinstance(backend, CloneBackend):
        raise _cannot("clones", "these volumes cannot be cloned")
    return backend


def operator_backend(backend: VolumeBackend, capability: str) -> OperatorBackend:
    """Return the backend, which offers what operators need.

    Raises:
        NotSupported: it does not; *capability* says what was wanted.
    """
    if not isinstance(backend, OperatorBackend):
        raise _cannot(capability, f"these volumes do not offer {capability}")
    return backend


def find_volume(volumes: VolumeBackend, name: str) -> Volume | None:
    """Return the volume called *name* ("acme" or "acme/photos"), or None."""
    return next((volume for volume in volumes.list_volumes() if volume["name"] == name), None)


def find_snapshot(backend: SnapshotBackend, volume: Volume, name: str, operation: str) -> Snapshot:
    """Return the snapshot called *name* of a volume.

    Raises:
        SnapshotNotFound: there is none.
    """
    for snapshot in backend.list_snapshots(volume["uuid"]):
        if snapshot["name"] == name:
            return snapshot
    raise no_such_snapshot(volume["name"], name, operation)


def ensure_volume(volumes: VolumeBackend, tenant: Tenant) -> None:
    """Create the tenant's volume, or complete it; take over one that is there already."""
    volume = find_volume(volumes, tenant.name)
    if volume is None or volume["state"] == "restricted":
        try:
            volumes.create_volume(tenant.name, tenant.quota_bytes)
            return
        except VolumeExists:  # another process was faster
            volume = find_volume(volumes, tenant.name)
    if volume is None:
        raise VolumeNotFound("it vanished again", operation="create volume", subject=tenant.name)
    if tenant.quota_bytes is not None and volume.get("size_bytes") != tenant.quota_bytes:
        volumes.patch_volume(volume["uuid"], size_bytes=tenant.quota_bytes)


def no_such_volume(name: str, operation: str) -> VolumeNotFound:
    """Return the error for a volume that is not there."""
    return VolumeNotFound(
        "there is none", operation=operation, subject=name, hint="see `zfsstore volume list`"
    )


def no_such_snapshot(volume: str, snapshot: str, operation: str) -> SnapshotNotFound:
    """Return the error for a snapshot that a volume has not."""
    return SnapshotNotFound(
        f"it has no snapshot {snapshot[:80]!r}",
        operation=operation,
        subject=volume,
        hint=f"see `zfsstore snapshot list {volume}`",
    )


def _cannot(capability: str, reason: str) -> NotSupported:
    return NotSupported(
        reason,
        capability=capability,
        hint="keep the tenant in a module that can, such as zfsstore.ZFSStorage",
    )
