"""What a process of the host consists of, opened and closed as one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from zfsstore.host.admin import Administration
from zfsstore.host.auth import Authenticator
from zfsstore.host.catalog import Catalog, Tenant
from zfsstore.host.config import Config
from zfsstore.host.objects import ObjectService
from zfsstore.host.registry import ModuleRegistry
from zfsstore.host.running import find_server
from zfsstore.host.volumes import VolumeService


@dataclass(frozen=True, slots=True)
class Services:
    """The services of one process; every front end and the command line use these."""

    config: Config
    catalog: Catalog
    registry: ModuleRegistry
    objects: ObjectService
    administration: Administration
    volumes: VolumeService

    @classmethod
    def open(cls, config: Config, *, has_workers: bool = True) -> Services:
        """Open catalog, modules and namespaces; after a fork, never before.

        Args:
            has_workers: False when no worker runs, so that no code is the one that they run.

        Raises:
            StorageError: the catalog cannot be opened. A module that cannot be loaded is logged
                and raises where it is used.
        """
        catalog = Catalog(config.catalog_url)
        registry = ModuleRegistry(
            catalog, python_path=config.python_path, is_code_recorded=has_workers
        )
        objects = ObjectService(
            modules=registry.get,
            context=registry.context,
            database_url=config.namespace_url,
            cache_dir=config.data_dir / "cache" / "snapshots",
            tenants=catalog.list_tenants,
        )

        def has_buckets(tenant: Tenant) -> bool:
            return bool(objects.list_buckets(tenant, limit=1).buckets)

        return cls(
            config,
            catalog,
            registry,
            objects,
            Administration(catalog, registry, has_buckets),
            VolumeService(catalog, registry.get),
        )

    def authenticator(self) -> Authenticator:
        """Return a new authenticator against the catalog."""
        return Authenticator(self.catalog, max_concurrent=self.config.max_argon2)

    def close(self) -> None:
        """Close what is open; the services must not be used afterwards."""
        self.objects.close()
        self.catalog.close()


@contextmanager
def open_services(config: Config) -> Iterator[Services]:
    """Give the services to a command, which is no worker; closed in the end."""
    services = Services.open(config, has_workers=find_server(config.data_dir) is not None)
    try:
        yield services
    finally:
        services.close()
