"""The module under test, with what the suite knows about it and has put into it."""

from __future__ import annotations

import contextlib
import secrets
import shutil
import threading
import uuid
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from modules.conformance.payload import Source
from modules.conformance.spec import Modules, ModuleSpec
from modules.errors import StorageError
from modules.extensions import SupportsVolumes

SMALL_BYTES: Final = 1024


class Store:
    """One instance of the module, its temporary volumes, and every object put through here.

    Where the module offers volumes, everything happens in a new tenant's bucket; :meth:`close`
    deletes all objects and volumes that are left.

    Args:
        list_files: returns a name for everything the module keeps now, None when unknown.
        directory: a temporary directory to remove at the end.
    """

    def __init__(
        self,
        spec: ModuleSpec,
        *,
        directory: str,
        list_files: Callable[[], Iterable[str] | None],
    ) -> None:
        self.spec = spec
        self.directory = directory
        self._list_files = list_files
        self.modules = Modules(spec.inner)
        self.module = self.modules.make(spec)
        self.objects: dict[str, set[str]] = {}
        self._lock = threading.Lock()
        self.tenant = f"conformance-{secrets.token_hex(6)}"
        self.bucket = f"{self.tenant}/objects"
        self._volumes: list[str] = []
        self.volume_id = str(uuid.uuid4())
        if isinstance(self.module, SupportsVolumes):
            self.make_volume(self.tenant)
            self.volume_id = self.make_volume(self.bucket)["uuid"]

    def make_volume(self, name: str, size_bytes: int | None = None) -> Mapping[str, Any]:
        """Create a volume that is removed at the end."""
        assert isinstance(self.module, SupportsVolumes)
        volume = self.module.volumes.create_volume(name, size_bytes)
        return self.remember_volume(volume)

    def remember_volume(self, volume: Mapping[str, Any]) -> Mapping[str, Any]:
        """Remove this volume at the end."""
        self._volumes.append(volume["uuid"])
        return volume

    def drop_volume(self, volume_uuid: str) -> None:
        """Remove a volume before the end, that the store does not grow; a failure is ignored."""
        if volume_uuid in self._volumes:
            self._volumes.remove(volume_uuid)
        with contextlib.suppress(StorageError):
            assert isinstance(self.module, SupportsVolumes)
            self.module.volumes.delete_volume(volume_uuid)

    def context_data(self, **extra: Any) -> dict[str, Any]:
        """Return the part of the usual context that is plain data."""
        return {
            "tenant": self.bucket,
            "volume_id": self.volume_id,
            "key_domain": "c0" * 16,
            "request_id": "conformance",
            **extra,
        }

    def context(self, **extra: Any) -> dict[str, Any]:
        """Return the usual context, as our host passes it."""
        return self.modules.context(self.context_data(**extra))

    def put(
        self, seed: str, size: int = SMALL_BYTES, *, context: dict[str, Any] | None = None
    ) -> str:
        """Store the pattern of *seed*; it is deleted at the end."""
        if context is None:
            context = self.context(content_length=size)
        return self.remember(self.module.put(context, Source(seed, size)), context)

    def remember(self, module_data: str, context: Mapping[str, Any] | None = None) -> str:
        """Delete this object at the end."""
        tenant = self.bucket if context is None else context.get("tenant", "")
        if isinstance(module_data, str):
            with self._lock:
                self.objects.setdefault(tenant, set()).add(module_data)
        return module_data

    def delete(self, module_data: str, *, context: dict[str, Any] | None = None) -> None:
        """Delete an object that was put here."""
        if context is None:
            context = self.context()
        self.module.delete(context, module_data)
        with self._lock:
            self.objects.get(context.get("tenant", ""), set()).discard(module_data)

    def stored(self) -> frozenset[str] | None:
        """Return a name for everything the module keeps now, None when that cannot be seen."""
        files = self._list_files()
        return None if files is None else frozenset(files)

    def close(self) -> None:
        """Delete what is left, the newest volumes first; failures here are no rule's business."""
        for tenant, objects in self.objects.items():
            context = self.modules.context({"tenant": tenant} if tenant else {})
            for module_data in objects:
                with contextlib.suppress(Exception):
                    self.module.delete(context, module_data)
        for volume_uuid in reversed(self._volumes):
            with contextlib.suppress(StorageError):
                assert isinstance(self.module, SupportsVolumes)
                self.module.volumes.delete_volume(volume_uuid)
        shutil.rmtree(self.directory, ignore_errors=True)
