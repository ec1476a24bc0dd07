"""From the name of a volume to its tenant, its module's backend and itself."""

from __future__ import annotations

from modules.errors import Conflict, InvalidArgument
from modules.volumes import Volume, VolumeBackend
from zfsstore.host.backends import no_such_volume, volume_backend
from zfsstore.host.blobs import Modules
from zfsstore.host.catalog import Catalog, Tenant
from zfsstore.host.namespace.names import check_bucket, check_tenant


class VolumeNames:
    """Finds volumes by name.

    Args:
        catalog: knows the tenants.
        modules: gives the instance of a configured module by name.
    """

    def __init__(self, catalog: Catalog, modules: Modules) -> None:
        self.catalog = catalog
        self.modules = modules

    def find_all(self, name: str, operation: str) -> tuple[VolumeBackend, list[Volume]]:
        """Return the volume called *name* and, when it is a tenant's, its buckets', by name."""
        backend = self.backend_of(name)
        below = f"{name}/"
        volumes = [
            volume
            for volume in backend.list_volumes()
            if volume["name"] == name
            or (volume["name"].startswith(below) and volume["state"] != "restricted")
        ]
        if not volumes or volumes[0]["name"] != name:
            raise no_such_volume(name, operation)
        return backend, volumes

    def find(self, name: str, operation: str) -> tuple[VolumeBackend, Volume]:
        backend, volumes = self.find_all(name, operation)
        return backend, volumes[0]

    def backend_of(self, name: str) -> VolumeBackend:
        policy = self.tenant_of(name).policy
        return volume_backend(self.modules(policy), policy)

    def tenant_of(self, name: str) -> Tenant:
        tenant, separator, bucket = name.partition("/")
        check_tenant(tenant)
        if separator:
            check_bucket(bucket)
        return self.catalog.get_tenant(tenant)

    def check_target(self, name: str, new_name: str, operation: str) -> None:
        need_bucket(name, operation, "name a bucket, as TENANT/BUCKET")
        need_bucket(new_name, operation, "write the new name as TENANT/BUCKET")
        source, target = self.tenant_of(name), self.tenant_of(new_name)
        if source.policy != target.policy:
            raise Conflict(
                f"tenant {target.name} keeps its data in {target.policy!r}, "
                f"{source.name} in {source.policy!r}",
                operation=operation,
                subject=name,
                hint="choose a tenant of the same module, or copy the objects",
            )


def need_bucket(name: str, operation: str, hint: str) -> None:
    if "/" not in name:
        raise InvalidArgument(
            "it names a tenant, not a bucket",
            field="name",
            operation=operation,
            subject=name,
            hint=hint,
        )
