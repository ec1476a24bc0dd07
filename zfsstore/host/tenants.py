"""Administration of tenants."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from modules import StorageModule
from modules.errors import (
    AlreadyExists,
    ConfigurationError,
    HasDependents,
    InvalidArgument,
    NotFound,
    NotSupported,
)
from modules.volume_properties import EncryptionKey
from zfsstore.host.backends import ensure_volume, find_volume, volumes_of
from zfsstore.host.catalog import Catalog, Tenant
from zfsstore.host.registry import ModuleRegistry
from zfsstore.host.specs import KEEP, Keep, check_name, check_quota
from zfsstore.volumes.properties import check_chosen, parse_size


@dataclass(frozen=True)
class TenantAdministration:
    """The operations on tenants.

    Args:
        has_buckets: tells whether a tenant holds any bucket.
    """

    catalog: Catalog
    registry: ModuleRegistry
    has_buckets: Callable[[Tenant], bool]

    def create_tenant(
        self,
        name: str,
        *,
        policy: str,
        quota_bytes: int | None = None,
        properties: Mapping[str, str] | None = None,
        encryption: EncryptionKey | None = None,
    ) -> Tenant:
        """Create a tenant and, when its module keeps volumes, the tenant's volume.

        Args:
            properties, encryption: of the volume (modules.volume_properties).

        Raises:
            AlreadyExists: there is a tenant of this name.
            InvalidArgument: the name, policy, quota, a property or the key is wrong.
            NotSupported: the module has no such volumes.
        """
        check_name(name, "tenant")
        if self._find_tenant(name) is not None:
            raise AlreadyExists("there is one already", operation="create tenant", subject=name)
        limit, others = _quota_apart(KEEP if quota_bytes is None else quota_bytes, properties)
        wanted = Tenant(name, policy, None if isinstance(limit, Keep) else check_quota(limit))
        return self._write_tenant(wanted, others, encryption)

    def put_tenant(
        self,
        name: str,
        *,
        policy: str,
        quota_bytes: int | Keep | None = KEEP,
        properties: Mapping[str, str] | None = None,
    ) -> bool:
        """Create a tenant, or change policy, quota and properties of the one of this name.

        Args:
            quota_bytes: None takes the quota away.
            properties: others stay as they are.

        Returns:
            True when it was created.

        Raises:
            HasDependents: the policy would change while the tenant holds buckets.
            InvalidArgument: the name, policy, quota or a property is wrong.
            NotSupported: the module has no such volumes.
        """
        present = self._find_tenant(check_name(name, "tenant"))
        if present is not None and present.policy != policy and self.has_buckets(present):
            raise HasDependents(
                f"it holds buckets, which are in {present.policy!r}",
                operation="change policy of tenant",
                subject=name,
                hint="delete its buckets first, or create another tenant",
            )
        limit, others = _quota_apart(quota_bytes, properties)
        if isinstance(limit, Keep):
            limit = present.quota_bytes if present is not None else None
        wanted = Tenant(name, policy, check_quota(limit))
        if present != wanted or others:
            self._write_tenant(wanted, others, is_limit_certain=present is not None)
            if present is not None and present.policy != policy:
                self._delete_volume(present)
        return present is None

    def get_tenant(self, name: str) -> Tenant:
        """Return a tenant.

        Raises:
            NotFound: there is none of this name.
        """
        return self.catalog.get_tenant(name)

    def list_tenants(self) -> list[Tenant]:
        """Return all tenants by name."""
        return self.catalog.list_tenants()

    def delete_tenant(self, name: str) -> None:
        """Remove a tenant without users and buckets; its volume goes to the trash.

        Raises:
            NotFound: there is none of this name.
            HasDependents: it has users or holds buckets.
        """
        tenant = self.catalog.get_tenant(name)
        if self.has_buckets(tenant):
            raise HasDependents(
                "it holds buckets",
                operation="delete tenant",
                subject=name,
                hint="delete its buckets first",
            )
        self.catalog.delete_tenant(name)
        self._delete_volume(tenant)

    def _find_tenant(self, name: str) -> Tenant | None:
        try:
            return self.catalog.get_tenant(name)
        except NotFound:
            return None

    def _write_tenant(
        self,
        tenant: Tenant,
        properties: Mapping[str, str] | None = None,
        encryption: EncryptionKey | None = None,
        *,
        is_limit_certain: bool = False,
    ) -> Tenant:
        """Volume first, then catalog: a tenant that can be found can also be written to."""
        self.catalog.check_tenant_is_settled(tenant.name)
        volumes = volumes_of(self._policy(tenant.policy))
        if volumes is not None:
            ensure_volume(
                volumes, tenant, properties, encryption, is_limit_certain=is_limit_certain
            )
        elif properties or encryption is not None:
            raise NotSupported(
                f"the module {tenant.policy!r} keeps no volumes",
                capability="properties",
                operation="create tenant",
                subject=tenant.name,
            )
        self.catalog.set_tenant(tenant)
        return tenant

    def create_missing_volumes(self, name: str, module: StorageModule) -> None:
        """Create the volumes of tenants that a replaced module has and *module* has not."""
        volumes = volumes_of(module)
        if volumes is not None:
            for tenant in self.catalog.list_tenants():
                if tenant.policy == name:
                    ensure_volume(volumes, tenant)

    def _policy(self, name: str) -> StorageModule:
        try:
            self.catalog.get_module(name)
        except NotFound:
            raise InvalidArgument(
                f"there is no vendor module {name!r}",
                field="policy",
                hint="list them with `zfsstore module list`",
            ) from None
        return self.registry.get(name)

    def _delete_volume(self, tenant: Tenant) -> None:
        try:
            volumes = volumes_of(self.registry.get(tenant.policy))
        except ConfigurationError:  # the module is gone, so are its volumes from our sight
            return
        volume = find_volume(volumes, tenant.name) if volumes is not None else None
        if volumes is not None and volume is not None:
            volumes.delete_volume(volume["uuid"])


def _quota_apart(
    quota_bytes: int | Keep | None, properties: Mapping[str, str] | None
) -> tuple[int | Keep | None, dict[str, str]]:
    """Return the quota, which may be among the properties, and the others.

    The catalog keeps a tenant's quota too, so it must not get past it.

    Raises:
        InvalidArgument: a property is wrong, or says another quota.
    """
    others = check_chosen(properties)
    chosen = others.pop("quota", None)
    if chosen is None:
        return quota_bytes, others
    quota = parse_size(chosen)  # None for "none"
    if not isinstance(quota_bytes, Keep) and quota_bytes != quota:
        raise InvalidArgument(
            f"quota_bytes is {quota_bytes}, and the property quota is {chosen}",
            field="quota_bytes",
            hint="give one of them",
        )
    return quota, others
