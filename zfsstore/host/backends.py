"""From a storage module to its volumes, to the tier that an operation needs, and by name."""

from __future__ import annotations

from collections.abc import Mapping

from modules import StorageModule
from modules.errors import NotSupported, SnapshotNotFound, VolumeExists, VolumeNotFound
from modules.extensions import SupportsVolumes
from modules.volume_properties import EncryptionBackend, EncryptionKey, PropertyBackend
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


def property_backend(backend: VolumeBackend) -> PropertyBackend:
    """Return the backend, whose volumes have properties.

    Raises:
        NotSupported: they have none.
    """
    if not isinstance(backend, PropertyBackend):
        raise _cannot("properties", "these volumes have no properties")
    return backend


def encryption_backend(backend: VolumeBackend) -> EncryptionBackend:
    """Return the backend, whose tenants can be locked.

    Raises:
        NotSupported: they cannot.
    """
    if not isinstance(backend, EncryptionBackend):
        raise _cannot("encryption", "these volumes cannot be encrypted")
    return backend


def create_volume(
    volumes: VolumeBackend,
    name: str,
    quota_bytes: int | None,
    properties: Mapping[str, str] | None = None,
    encryption: EncryptionKey | None = None,
) -> Volume:
    """Create a volume, also on a backend that knows neither properties nor encryption.

    Raises:
        NotSupported: one of them was asked for.
    """
    if not properties and encryption is None:
        return volumes.create_volume(name, quota_bytes)
    return property_backend(volumes).create_volume(
        name, quota_bytes, properties=properties, encryption=encryption
    )


def ensure_volume(
    volumes: VolumeBackend,
    tenant: Tenant,
    properties: Mapping[str, str] | None = None,
    encryption: EncryptionKey | None = None,
    *,
    is_limit_certain: bool = False,
) -> None:
    """Create the tenant's volume, or complete it; take over one that is there already.

    Args:
        properties: given to a volume that is there, too.
        encryption: of a new volume; one that is there stays as it is, and that is an error.
        is_limit_certain: a tenant without a quota takes the volume's away.
    """
    volume = find_volume(volumes, tenant.name)
    if volume is None or volume["state"] == "restricted":
        try:
            create_volume(volumes, tenant.name, tenant.quota_bytes, properties, encryption)
            return
        except VolumeExists:  # another process was faster
            volume = find_volume(volumes, tenant.name)
    if volume is None:
        raise VolumeNotFound("it vanished again", operation="create volume", subject=tenant.name)
    if encryption is not None:
        raise VolumeExists(
            "it exists, and cannot be encrypted any more",
            operation="create volume",
            subject=tenant.name,
            hint="choose another name, or delete the volume first",
        )
    if properties:
        property_backend(volumes).set_properties(volume["uuid"], properties)
    size_bytes = volume.get("size_bytes")
    if tenant.quota_bytes is not None and size_bytes != tenant.quota_bytes:
        volumes.patch_volume(volume["uuid"], size_bytes=tenant.quota_bytes)
    elif tenant.quota_bytes is None and size_bytes is not None and is_limit_certain:
        property_backend(volumes).set_properties(volume["uuid"], {"quota": "none"})


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
