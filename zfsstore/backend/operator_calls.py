"""The backend's calls for whoever looks after the pool: by name, with all that depends on it."""

from __future__ import annotations

from collections.abc import Sequence

from modules.errors import HasDependents, NotFound
from modules.volumes import Volume
from zfsstore.backend.lookup import named_errors
from zfsstore.backend.publishing import Publication
from zfsstore.backend.replication_calls import ReplicationCalls
from zfsstore.backend.volume_calls import Usage
from zfsstore.volumes.common import no_such_volume


class OperatorCalls(ReplicationCalls):
    """What crosses single volumes."""

    def find_volume(self, name: str) -> Volume | None:
        """Return the volume of that name, None when there is none."""
        found = (row for row in self._lookup.walk() if row.name == name)
        return next((row.to_dict() for row in found), None)

    def fsid(self, uuid: str) -> str:
        """Return the NFS fsid under which the volume is, or would be, exported."""
        return self._lookup.need(uuid, "get fsid of volume").export().fsid

    @property
    def publication(self) -> Publication:
        """How new volumes are published unless a call says otherwise."""
        return self._publisher.as_configured

    def zfs_version(self) -> tuple[int, int, int]:
        """Return the version of the installed zfs program."""
        return self._zfs.version()

    def pool_usage(self) -> Usage:
        """Return what the whole pool dataset takes, and what is left in it."""
        row = self._lookup.at(self.pool)
        return Usage(
            used_bytes=row.used_bytes,
            available_bytes=row.available_bytes,
            size_bytes=row.quota_bytes,
        )

    def is_taken(self, name: str) -> bool:
        """Return whether a dataset, volume or not, has that name below the pool."""
        try:
            self._lookup.at(self._settings.dataset(self._settings.check_name(name)))
        except NotFound:
            self._lookup.walk()  # or is it the pool that is missing?
            return False
        return True

    def list_all_snapshots(self) -> list[str]:
        """Return the full names of the snapshots of all volumes, from old to new."""
        return [name for name, _created_s in self.dated_snapshots()]

    def dated_snapshots(self) -> list[tuple[str, int]]:
        """Return the same, each with when it was taken, in seconds since 1970."""
        volumes = {row.dataset for row in self._lookup.walk()}
        found = self._zfs.list_datasets(
            [self.pool], ("creation",), types=("snapshot",), depth=2, sort=("createtxg",)
        )
        return [
            (listed.name, listed.number("creation") or 0)
            for listed in found
            if listed.name.partition("@")[0] in volumes
        ]

    def destroy_volume(
        self,
        uuid: str,
        *,
        recursive: bool = False,
        dependents: bool = False,
        force: bool = False,
    ) -> None:
        """Destroy a volume, for good, after its export.

        Args:
            uuid: of the volume.
            recursive: with its snapshots and children.
            dependents: with these and all clones of them, wherever they are.
            force: unmount it though it is in use.

        Raises:
            VolumeNotFound: there is none.
            HasDependents: it has what was not asked for.
            Busy: a file in it is open; it is exported as before.
        """
        with self._lookup.turn():
            row = self._lookup.need(uuid, "destroy volume")
            with named_errors("destroy volume", row.name):
                if dependents:
                    self._placement.destroy_dependents(row.dataset, force=force)
                    return
                gone = self._placement.destroy(row, recursive=recursive, force=force)
            if gone is not None:
                raise no_such_volume(uuid, operation="destroy volume") from gone

    def destroy_snapshot(
        self,
        volume_uuid: str,
        snapshot_uuid: str,
        *,
        recursive: bool = False,
        dependents: bool = False,
    ) -> None:
        """Destroy a snapshot; *recursive*: those of that name below the volume, too;
        *dependents*: with all clones.

        Raises:
            VolumeNotFound, SnapshotNotFound: there is none.
            HasDependents: it has a clone.
        """
        if not recursive and not dependents:
            self.delete_snapshot(volume_uuid, snapshot_uuid)
            return
        with self._lookup.turn():
            row = self._lookup.need(volume_uuid, "destroy snapshot of volume")
            found = self._lookup.need_snapshot(row, snapshot_uuid, "destroy snapshot")
            if dependents:
                self._placement.destroy_dependents(found.snapshot)
            else:
                self._zfs.destroy_snapshots(row.dataset, [found.name], recursive=True)

    def destroy_all_volumes(self) -> Sequence[str]:
        """Destroy every volume of the pool with snapshots and clones, and return their names.

        Nothing is destroyed when something in the pool depends on them, or lies beside them,
        that is no volume.

        Raises:
            HasDependents: there is such a thing.
            Busy: a file in a volume is open; those before it are gone.
        """
        with self._lookup.turn():
            rows = self._lookup.walk()
            beside = self._zfs.list_datasets([self.pool], types=("filesystem", "volume"), depth=1)
            known = {self.pool, *(row.dataset for row in rows)}
            others = sorted({listed.name for listed in beside} - known)
            if others:
                raise HasDependents(
                    f"{', '.join(others)} is no volume of ours",
                    operation="destroy all volumes of",
                    subject=self.pool,
                    hint="move or destroy it first",
                )
            for row in rows:
                if self.is_taken(row.name):  # a clone of an earlier one is gone with it
                    self._placement.destroy_dependents(row.dataset, force=True, only_volumes=True)
            return [row.name for row in rows]
