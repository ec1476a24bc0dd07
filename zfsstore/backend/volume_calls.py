"""The backend's calls about volumes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypedDict

from modules.errors import Conflict, InvalidArgument
from modules.volumes import Volume
from zfsstore.backend.lookup import Lookup, named_errors
from zfsstore.backend.placing import Placement
from zfsstore.backend.publishing import Publication, Publisher
from zfsstore.backend.rows import VolumeRow
from zfsstore.backend.settings import Settings
from zfsstore.exports import check_fsid
from zfsstore.volumes.common import check_size, no_such_volume, parse_uuid, volume_dict
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
        self._placement = Placement(settings, self._lookup, self._publisher)

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

        with self._lookup.turn():
            uuid = self._placement.bring_up("create volume", name, create, publication)
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
            gone = self._placement.destroy(row, recursive=True, force=True)
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
                    self._placement.move(row, path)
                    self._publisher.publish(row.export(path=path))
                return self._lookup.at(row.dataset).to_dict()

    def access_handle(self, uuid: str) -> dict[str, Any]:
        """Return ``{"kind": "nfs_export", "server": ..., "path": ...}``."""
        row = self._lookup.need(uuid, "access volume")
        with named_errors("access volume", row.name):
            path = self._placement.mountpoint(row)
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
            with named_errors("rename volume", f"{row.name} to {new_name}"):
                if moves:
                    self._placement.rename_and_move(row, new_name)
                else:
                    self._placement.rename_in_place(row, new_name)
            self._lookup.known[row.uuid or ""] = new_name
            return self._lookup.at(self._settings.dataset(new_name)).to_dict()

    def replace_volume(
        self,
        uuid: str,
        by_uuid: str,
        *,
        publication: Publication | None = None,
        fsid: str | None = None,
    ) -> Volume:
        """Let one volume take another's place: its name, path, export and NFS fsid.

        The other one gets those of the first, so nothing is lost. Uuids stay with the data. NFS
        clients keep the handles of all files that the new volume has in common with the old one,
        which are those of their snapshot when one is a clone of the other.

        Args:
            uuid: of the volume to be replaced.
            by_uuid: of the one to take its place.
            publication: of that one, in place of what is configured.
            fsid: export it under this one, in place of the other's.

        Returns:
            The volume that took the place.

        Raises:
            VolumeNotFound: there is none.
            Busy: a file in one of them is open; nothing has changed.
        """
        with self._lookup.turn():
            old = self._lookup.need(uuid, "replace volume")
            new = self._lookup.need(by_uuid, "replace volume by")
            if old.uuid == new.uuid:
                raise InvalidArgument("a volume cannot take its own place", field="by_uuid")
            chosen = None if fsid is None else self._free_fsid(fsid, old, new)
            with named_errors("replace volume", f"{old.name} by {new.name}"):
                self._placement.swap(old, new, publication, chosen)
            self._lookup.known |= {old.uuid or "": new.name, new.uuid or "": old.name}
            return self._lookup.at(old.dataset).to_dict()

    def _free_fsid(self, fsid: str, *allowed: VolumeRow) -> str:
        """Return *fsid* when no other volume has it.

        Raises:
            Conflict: one has.
        """
        wanted = check_fsid(fsid)
        uuids = {row.uuid for row in allowed}
        for row in self._lookup.walk():
            if row.export().fsid == wanted and row.uuid not in uuids:
                raise Conflict(f"the volume {row.name} has this fsid", subject=wanted)
        return wanted
