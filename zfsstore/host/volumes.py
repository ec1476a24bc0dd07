"""Volumes by name, on the modules that keep them."""

from __future__ import annotations

from modules import StorageModule
from modules.errors import VolumeExists, VolumeNotFound
from modules.extensions import SupportsVolumes
from modules.volumes import Volume, VolumeBackend
from zfsstore.host.catalog.records import Tenant


def volumes_of(module: StorageModule) -> VolumeBackend | None:
    """Return a module's volumes, None when it keeps none."""
    return module.volumes if isinstance(module, SupportsVolumes) else None


def find_volume(volumes: VolumeBackend, name: str) -> Volume | None:
    """Return the volume called *name* ("acme" or "acme/photos"), or None."""
    return next((volume for volume in volumes.list_volumes() if volume["name"] == name), None)


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
