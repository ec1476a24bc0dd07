"""Renaming a tenant: its volume and its row in the catalog, one after the other.

First the catalog remembers what is begun, then the volume is renamed, then one transaction moves
the tenant's row and its users. Where a crash comes in between, the tenant's clients get 404 until
the same rename is called again, which goes on where the first one stopped; until then the catalog
refuses to change either tenant, so that nobody makes a new volume under the old name.
"""

from __future__ import annotations

from modules.errors import StorageError
from modules.volumes import OperatorBackend, Volume
from zfsstore.host.backends import find_volume, no_such_volume, operator_backend
from zfsstore.host.specs import check_name
from zfsstore.host.volume_names import VolumeNames


def rename_tenant(names: VolumeNames, name: str, new_name: str) -> Volume:
    """Rename a tenant, which keeps its users and buckets; complete what was interrupted.

    Raises:
        AlreadyExists: there is a tenant, or a volume, of the new name.
        Conflict: another rename was interrupted, and must be completed first.
        Busy: a bucket is in use, and was not let go in time; nothing was changed.
    """
    check_name(new_name, "tenant")
    backend = operator_backend(names.backend_of(name), "rename")
    volume = find_volume(backend, name)
    catalog = names.catalog
    uuid = catalog.begin_tenant_rename(name, new_name, volume["uuid"] if volume else None)
    try:
        renamed = _renamed(backend, uuid, name, new_name)
    except StorageError:
        present = backend.get_volume(uuid)
        if present is not None and present["name"] == name:
            catalog.abort_tenant_rename(name)
        raise
    catalog.finish_tenant_rename(name)
    return renamed


def _renamed(backend: OperatorBackend, uuid: str, name: str, new_name: str) -> Volume:
    """Rename the tenant's volume, unless an interrupted call has done so."""
    volume = backend.get_volume(uuid)
    if volume is None:
        raise no_such_volume(name, "rename tenant")
    return volume if volume["name"] == new_name else backend.rename_volume(uuid, new_name)
