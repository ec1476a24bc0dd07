"""The backend's calls about volumes."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any, TypedDict

from modules.errors import (
    Busy,
    Conflict,
    InvalidArgument,
    NotFound,
    VolumeExists,
)
from modules.volumes import Volume
from zfsstore.backend.lookup import Lookup, named_errors, undone
from zfsstore.backend.publishing import Publication, Publisher
from zfsstore.backend.rows import VolumeRow
from zfsstore.backend.settings import Settings
from zfsstore.exports import Export
from zfsstore.volumes.common import check_size, new_uuid, no_such_volume, parse_uuid, volume_dict
from zfsstore.volumes.datasets import UUID
from zfsstore.zfs.runner import Runner


class Usage(TypedDict):
    """What a volume takes and may take, in bytes; ``size_bytes`` is its quota."""

    used_bytes: int
    available_bytes: int
    size_bytes: int | None


class VolumeCalls:
    """Volumes: file systems right below the pool that carry a uuid."""

    def __init__(self, settings: Settings, runner: Runner | None) -> None:
        self._settings = settings
        self._lookup = Lookup(settings, runner)
        self._zfs = self._lookup.commands
        self._publisher = Publisher(settings, self._zfs.run)

    @property
    def pool(self) -> str:
        """The dataset that holds the volumes."""
        return self._settings.pool

    def create_volume(
        self,
        name: str,
        size_bytes: int | None = None,
        *,
        properties: Mapping[str, str] | None = None,
        publication: Publication | None = None,
    ) -> Volume:
        """Create a volume, mounted at ``SRV_ROOT/NAME`` and published as configured.

        When a step fails the volume is destroyed again.

        Args:
            name: letters, digits and ``_ . -``.
            size_bytes: its quota, snapshots included.
            properties: of ZFS, set in the creating command.
            publication: in place of what is configured.

        Raises:
            InvalidName, InvalidArgument: not a valid name or size.
            VolumeExists: the name is taken.
        """
        self._settings.check_name(name)
        check_size(size_bytes)
        quota = {} if size_bytes is None else {"quota": str(size_bytes)}
        dataset = self._settings.dataset(name)

        def create(own: Mapping[str, str]) -> None:
            mountpoint, uuid = own["mountpoint"], own[UUID]
            chosen = {"mountpoint": mountpoint, **quota, UUID: uuid, **(properties or {})}
            self._zfs.create(dataset, chosen)

        uuid = self._bring_up("create volume", name, create, publication)
        return volume_dict(uuid=uuid, name=name, size_bytes=size_bytes)

    def list_volumes(self) -> list[Volume]:
        """Return every volume, sorted by name; one command for all."""
        return sorted((row.to_dict() for row in self._lookup.walk()), key=lambda v: v["name"])

    def get_volume(self, uuid: str) -> Volume | None:
        """Return the volume, None when there is none.

        Raises:
            InvalidArgument: *uuid* is none.
            StorageError: it could not be found out.
        """
        row = self._lookup.find(uuid)
        return None if row is None else row.to_dict()

    def usage(self, uuid: str) -> Usage:
        """Return how much the volume takes, with its snapshots, and how much is left for it."""
        row = self._lookup.need(uuid, "get usage of volume")
        return Usage(
            used_bytes=row.used_bytes,
            available_bytes=row.available_bytes,
            size_bytes=row.quota_bytes,
        )

    def delete_volume(self, uuid: str) -> None:
        """Destroy the volume with its snapshots, for good.

        Its export goes first, because it would keep the dataset busy; when the volume cannot be
        destroyed the export is back.

        Raises:
            VolumeNotFound: there is none.
            HasDependents: one of its snapshots has a clone.
            Busy: a file in it is open, also after retries.
        """
        with self._lookup.turn():
            row = self._lookup.need(uuid, "delete volume")
            gone: NotFound | None = None
            with self._publisher.exports.withdrawn(row.export()):
                try:
                    self._publisher.patiently(
                        lambda: self._zfs.destroy(row.dataset, recursive=True, force=True)
                    )
                except NotFound as error:
                    gone = error
            self._lookup.forget(row)
        if gone is not None:
            raise no_such_volume(uuid, operation="delete volume") from gone

    def patch_volume(
        self,
        uuid: str,
        size_bytes: int | None = None,
        junction_path: str | None = None,
        export_policy: str | None = None,
    ) -> Volume:
        """Change what is not None, and return the volume.

        Args:
            uuid: of the volume.
            size_bytes: its quota.
            junction_path: its place below SRV_ROOT, beginning with "/"; publishes it, too.
            export_policy: accepted and not used; exports are configured for the backend.

        Raises:
            VolumeNotFound: there is none, also when something else is wrong.
            InvalidArgument: a value is not valid; nothing was done.
            QuotaBelowUsage: the volume holds more.
            Busy: it cannot be moved while a file in it is open.
        """
        try:
            check_size(size_bytes)
            path = None if junction_path is None else self._settings.junction(junction_path)
        except InvalidArgument:
            if parse_uuid(uuid) not in self._lookup.known:
                self._lookup.need(uuid, "patch volume")
            raise
        with self._lookup.turn():
            row = self._lookup.need(uuid, "patch volume")
            with named_errors("patch volume", row.name):
                if size_bytes is not None:
                    self._zfs.set(row.dataset, {"quota": str(size_bytes)})
                if path is not None:
                    self._move(row, path)
                    self._publisher.publish(row.export(path=path))
                return self._lookup.at(row.dataset).to_dict()

    def access_handle(self, uuid: str) -> dict[str, Any]:
        """Return ``{"kind": "nfs_export", "server": ..., "path": ...}``."""
        row = self._lookup.need(uuid, "access volume")
        with named_errors("access volume", row.name):
            path = self._mountpoint(row)
        return {"kind": "nfs_export", "server": self._settings.data_lif, "path": path}

    def rename_volume(self, uuid: str, new_name: str, *, keep_path: bool = False) -> Volume:
        """Rename the volume, and return it. Its uuid, fsid, snapshots and export stay.

        Args:
            uuid: of the volume.
            new_name: not taken.
            keep_path: stay mounted where it is, so that not even open files are disturbed.
                Otherwise what is mounted at ``SRV_ROOT/NAME`` moves to the new name.

        Raises:
            VolumeExists: the new name is taken.
            Busy: a file is open in what has to move; it has its former name then.
        """
        self._settings.check_name(new_name)
        with self._lookup.turn():
            row = self._lookup.need(uuid, "rename volume")
            moves = not keep_path and row.mountpoint == self._settings.path(row.name)
            path = self._settings.path(new_name) if moves else row.mountpoint
            if moves:
                self._refuse_occupied(path)
            with named_errors("rename volume", row.name):
                if moves:
                    self._rename_and_move(row, new_name, path)
                else:
                    self._rename_in_place(row, new_name)
            self._lookup.known[row.uuid or ""] = new_name
            return self._lookup.at(self._settings.dataset(new_name)).to_dict()

    def _rename_in_place(self, row: VolumeRow, new_name: str) -> None:
        dataset = self._settings.dataset(new_name)
        self._zfs.rename(row.dataset, dataset, remount=False)
        with undone(lambda: self._rename_back(row, dataset), f"rename to {dataset}"):
            renamed = self._lookup.at(dataset)
            if renamed.mountpoint != row.mountpoint:  # an inherited one, of an adopted volume
                self._set_mountpoint(renamed, row.mountpoint)
            self._publisher.exports.renamed(row.export(), renamed.export(path=row.mountpoint))

    def _rename_and_move(self, row: VolumeRow, new_name: str, path: str) -> None:
        dataset = self._settings.dataset(new_name)
        renamed = replace(row, dataset=dataset, mountpoint=path)
        exports = self._publisher.exports
        is_exported = exports.is_exported(row.export())
        with exports.withdrawn(row.export()):
            self._zfs.rename(row.dataset, dataset, remount=False)
            with undone(lambda: self._rename_back(row, dataset), f"rename to {dataset}"):
                self._set_mountpoint(renamed, path)
                with undone(lambda: self._set_mountpoint(renamed, row.mountpoint), f"move {path}"):
                    if is_exported:
                        exports.export(renamed.export())

    def _rename_back(self, row: VolumeRow, dataset: str) -> None:
        self._zfs.rename(dataset, row.dataset, remount=False)

    def _move(self, row: VolumeRow, path: str) -> None:
        """Mount the volume at *path*, unless it is: a remount would evict kernel exports."""
        current = self._mountpoint(row)
        if current == path:
            return
        self._refuse_occupied(path)
        try:
            self._zfs.set(row.dataset, {"mountpoint": path})
        except Busy:
            with self._publisher.exports.withdrawn(row.export(path=current)):
                self._set_mountpoint(row, path)

    def _set_mountpoint(self, row: VolumeRow, path: str) -> None:
        self._publisher.patiently(lambda: self._zfs.set(row.dataset, {"mountpoint": path}))

    def _mountpoint(self, row: VolumeRow) -> str:
        argv = ["zfs", "get", "-H", "-o", "value", "mountpoint", row.dataset]
        return self._zfs.run(argv, "get mountpoint of volume", row.name).rstrip("\n")

    def _bring_up(
        self,
        operation: str,
        name: str,
        make: Callable[[Mapping[str, str]], None],
        publication: Publication | None,
    ) -> str:
        """Make a dataset with the properties that *make* is given, and publish it; or neither.

        Returns:
            The new volume's uuid.
        """
        uuid, path = new_uuid(), self._settings.path(name)
        export = Export(
            name=name, uuid=uuid, dataset=self._settings.dataset(name), path=path, fsid=uuid
        )
        with self._lookup.turn(), undone(lambda: self._unmake(export), f"{operation} {name}"):
            with named_errors(operation, name):
                self._refuse_occupied(path, by=export.dataset)
                make({"mountpoint": path, UUID: uuid})
            self._publisher.publish(export, publication)
            self._lookup.known[uuid] = name
        return uuid

    def _unmake(self, export: Export) -> None:
        """Destroy what was just made, unless something else has its name."""
        try:
            row = self._lookup.at(export.dataset)
        except NotFound:
            return
        if row.uuid == export.uuid:
            with self._publisher.exports.withdrawn(export):
                self._publisher.patiently(lambda: self._zfs.destroy(export.dataset, force=True))

    def _refuse_occupied(self, path: str, *, by: str | None = None) -> None:
        """Raise when something is mounted at *path*: the new volume would hide it.

        Raises:
            VolumeExists: the dataset that is to be made, *by*, is there.
            Conflict: it is something else.
        """
        if not os.path.ismount(path):
            return
        with suppress(NotFound):
            if by is not None and self._lookup.at(by):
                raise VolumeExists("it exists already", operation="create volume", subject=by)
        raise Conflict(
            f"something is mounted at {path}",
            operation="mount volume",
            subject=path,
            hint="unmount or move it, or choose another name",
        )
