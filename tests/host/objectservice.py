"""An object service over real modules, and modules that fail as told."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from modules import StorageModule
from modules.context import Context
from modules.errors import ConfigurationError
from modules.streams import SupportsRead
from simple.simple import SimpleStorage
from tests.host import on_datasets
from zfsstore.host.catalog.records import Tenant
from zfsstore.host.objects import ObjectService, PutResult


class FaultyStorage(SimpleStorage):
    """SimpleStorage that runs *before_delete* first, and keeps the contexts of its puts."""

    def __init__(self, storage_dir: str) -> None:
        super().__init__(storage_dir=storage_dir)
        self.before_delete: Callable[[str], None] = lambda module_data: None
        self.contexts: list[Context] = []

    def put(self, context: Context, stream: SupportsRead) -> str:
        self.contexts.append(dict(context))
        return super().put(context, stream)

    def delete(self, context: Context, module_data: str) -> None:
        self.before_delete(module_data)
        super().delete(context, module_data)


@dataclass
class Site:
    """A service, its modules and a tenant for each of them; any process may open it.

    Attributes:
        store: the module "volumes".
        volumes_root: where its volumes are.
    """

    root: Path
    modules: dict[str, StorageModule] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.store, self.volumes_root = on_datasets.open_store(self.root / "volumes")
        self.modules["volumes"] = self.store
        self.modules["shared"] = self.faulty = FaultyStorage(str(self.root / "shared"))
        self.service = self.open_service()

    @classmethod
    def make(cls, root: Path) -> Site:
        """Return a new site in an empty directory."""
        site = cls(root)
        site.store.volumes.create_volume("volumes-tenant")
        return site

    def open_service(self) -> ObjectService:
        """Return one more service on the same data, as another process would have."""
        return ObjectService(
            modules=self.get_module,
            context=self.context,
            database_url=f"sqlite:///{self.root}/shared.db",
            cache_dir=self.root / "cache",
        )

    def get_module(self, name: str) -> StorageModule:
        try:
            return self.modules[name]
        except KeyError:
            raise ConfigurationError("there is none", subject=name) from None

    def context(self, **extra: Any) -> dict[str, Any]:
        return {"func": {"getModule": self.get_module}, **extra}

    def tenant(self, policy: str) -> Tenant:
        return Tenant(f"{policy}-tenant", policy)

    def files(self, policy: str) -> list[Path]:
        """Return the files that hold objects of a module."""
        below = self.volumes_root if policy == "volumes" else self.root / policy
        return sorted(
            path
            for path in below.rglob("*")
            if path.is_file() and (policy == "shared" or "objects" in path.parts)
        )


def put(site: Site, tenant: Tenant, key: str, data: bytes, **options: Any) -> PutResult:
    """Put bytes into the bucket "photos"."""
    options = {"content_length": len(data), "content_type": None, **options}
    return site.service.put_object(tenant, "photos", key, io.BytesIO(data), **options)


def get(site: Site, tenant: Tenant, key: str) -> bytes:
    """Return an object's bytes from the bucket "photos"."""
    _, stream = site.service.open_object(tenant, "photos", key)
    with stream:
        return stream.read()
