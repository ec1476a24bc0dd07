"""What destroys volumes, and what brings back those that clients deleted."""

from __future__ import annotations

from datetime import timedelta

from modules.volumes import DestroyPlan, OperatorBackend, TrashedVolume, Volume
from zfsstore.host.backends import operator_backend, volume_backend, volumes_of
from zfsstore.host.volume_names import VolumeNames, need_bucket


class VolumeTrash:
    """Destruction, and the trash of each module.

    Args:
        names: finds the volumes.
    """

    def __init__(self, names: VolumeNames) -> None:
        self._names = names

    def plan_destroy(self, name: str) -> DestroyPlan:
        """Return what ``destroy`` would remove. Nothing is changed."""
        backend, volume = self._names.find(name, "plan destruction of")
        return operator_backend(backend, "destroy").plan_destroy(volume["uuid"])

    def destroy(self, name: str) -> None:
        """Destroy a bucket with its objects and snapshots, for good, without the trash.

        Raises:
            HasDependents: a fork stands on one of its snapshots.
            Busy: the bucket is in use, and was not let go in time.
        """
        need_bucket(name, "destroy", "delete the tenant, then empty the trash")
        backend, volume = self._names.find(name, "destroy")
        operator_backend(backend, "destroy").destroy_volume(volume["uuid"])

    def trash_modules(self) -> list[str]:
        """Return the names of the modules with a trash, sorted."""
        return [
            module.name
            for module in self._names.catalog.list_modules()
            if isinstance(volumes_of(self._names.modules(module.name)), OperatorBackend)
        ]

    def list_trash(self, module: str) -> list[TrashedVolume]:
        """Return what lies in a module's trash, oldest first."""
        return self._trash(module).list_trash()

    def restore(self, module: str, trash_id: str, name: str | None = None) -> Volume:
        """Move a volume out of a module's trash, under its old name or another.

        Raises:
            VolumeNotFound, VolumeExists
        """
        return self._trash(module).restore_volume(trash_id, name)

    def empty_trash(
        self, module: str, *, older_than: timedelta, dry_run: bool = True
    ) -> list[TrashedVolume]:
        """Destroy, unless *dry_run*, what has been in a module's trash for longer; return it."""
        return self._trash(module).empty_trash(older_than=older_than, dry_run=dry_run)

    def _trash(self, module: str) -> OperatorBackend:
        return operator_backend(volume_backend(self._names.modules(module), module), "trash")
