"""The backend's calls about snapshots and clones."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from modules.errors import SnapshotExists, SnapshotNotFound
from modules.volumes import Snapshot, Volume
from zfsstore.backend.lookup import named_errors
from zfsstore.backend.publishing import Publication
from zfsstore.backend.rows import clone_origin, list_snapshot_argv, parse_snapshots
from zfsstore.backend.volume_calls import VolumeCalls
from zfsstore.exports import Export
from zfsstore.volumes.common import volume_dict
from zfsstore.zfs.names import check_short_name, check_snapshot_name


class SnapshotCalls(VolumeCalls):
    """Snapshots of volumes, and what can be made of them. A snapshot's uuid follows from its guid:
    it outlives renames, promotes and replication."""

    def create_snapshot(self, volume_uuid: str, name: str) -> Snapshot:
        """Take a snapshot of the volume, without its children, and return it.

        Raises:
            InvalidName: not a valid name.
            VolumeNotFound, SnapshotExists: there is no such volume; it has one of that name.
        """
        check_short_name(name)
        with self._lookup.turn():
            row = self._lookup.need(volume_uuid, "create snapshot of volume")
            snapshot = check_snapshot_name(f"{row.dataset}@{name}")
            with named_errors("create snapshot", f"{row.name}@{name}", taken=SnapshotExists):
                self._zfs.snapshot([snapshot])
            argv = list_snapshot_argv(snapshot)
            with named_errors("create snapshot", f"{row.name}@{name}", missing=SnapshotNotFound):
                stdout = self._zfs.run(argv, "list snapshot", snapshot)
            (made,) = parse_snapshots(stdout, argv)
            return made.to_dict()

    def list_snapshots(self, volume_uuid: str) -> list[Snapshot]:
        """Return the volume's own snapshots, from old to new.

        Raises:
            VolumeNotFound: there is no such volume.
        """
        row = self._lookup.need(volume_uuid, "list snapshots of volume")
        return [found.to_dict() for found in self._lookup.snapshots(row)]

    def get_snapshot(self, volume_uuid: str, snapshot_uuid: str) -> Snapshot | None:
        """Return a snapshot of the volume, None when it has none with that uuid.

        Raises:
            VolumeNotFound: there is no such volume.
        """
        row = self._lookup.need(volume_uuid, "get snapshot of volume")
        found = self._lookup.snapshot(row, snapshot_uuid)
        return None if found is None else found.to_dict()

    def delete_snapshot(self, volume_uuid: str, snapshot_uuid: str) -> None:
        """Destroy a snapshot.

        Raises:
            VolumeNotFound, SnapshotNotFound: there is none.
            HasDependents: it has a clone.
            Busy: it is held, or in use.
        """
        with self._lookup.turn():
            row = self._lookup.need(volume_uuid, "delete snapshot of volume")
            found = self._lookup.need_snapshot(row, snapshot_uuid, "delete snapshot")
            with named_errors("delete snapshot", found.snapshot, missing=SnapshotNotFound):
                self._zfs.destroy_snapshots(row.dataset, [found.name])

    def create_clone(
        self,
        parent_volume_uuid: str,
        parent_snapshot_uuid: str,
        new_name: str,
        *,
        publication: Publication | None = None,
        prepare: Callable[[Export], None] | None = None,
    ) -> Volume:
        """Make a writable volume of a snapshot, and return it, published as configured.

        When a step fails the clone is destroyed again.

        Args:
            parent_volume_uuid: of the volume.
            parent_snapshot_uuid: of its snapshot.
            new_name: of the clone.
            publication: in place of what is configured.
            prepare: called with where the clone is, before it is published.

        Raises:
            InvalidName, VolumeExists: the new name is not valid, or taken.
            VolumeNotFound, SnapshotNotFound: there is no such parent.
        """
        self._settings.check_name(new_name)
        dataset = self._settings.dataset(new_name)
        with self._lookup.turn():
            row = self._lookup.need(parent_volume_uuid, "clone volume")
            parent = self._lookup.need_snapshot(row, parent_snapshot_uuid, "clone snapshot")

            def clone(own: Mapping[str, str]) -> None:
                with named_errors("clone snapshot", parent.snapshot, missing=SnapshotNotFound):
                    self._zfs.clone(parent.snapshot, dataset, own)

            uuid = self._placement.bring_up(
                "create clone", new_name, clone, publication, prepare=prepare
            )
        volume = volume_dict(uuid=uuid, name=new_name, size_bytes=None)
        volume["clone"] = clone_origin(parent.snapshot, self.pool)
        return volume

    def promote_volume(self, uuid: str) -> Volume:
        """Let a clone take over its origin's snapshots up to the one it was made from.

        The volume that it came from becomes its clone. Neither is unmounted, and the exports of
        both stay. Returns the promoted volume.

        Raises:
            VolumeNotFound: there is none.
            InvalidArgument: it is no clone.
            SnapshotExists: both have a snapshot of the same name.
        """
        with self._lookup.turn():
            row = self._lookup.need(uuid, "promote volume")
            with named_errors("promote volume", row.name, taken=SnapshotExists):
                self._zfs.promote(row.dataset)
            return self._lookup.at(row.dataset).to_dict()

    def rollback_volume(
        self, volume_uuid: str, snapshot_uuid: str, *, destroy_newer: bool = False
    ) -> Volume:
        """Revert the volume to a snapshot, the newest one unless *destroy_newer*.

        Open files in it turn into what they were then: nobody should be writing.

        Raises:
            VolumeNotFound, SnapshotNotFound: there is none.
            HasDependents: there are newer snapshots, or clones of them.
        """
        with self._lookup.turn():
            row = self._lookup.need(volume_uuid, "roll back volume")
            found = self._lookup.need_snapshot(row, snapshot_uuid, "roll back to snapshot")
            with named_errors("roll back to snapshot", found.snapshot, missing=SnapshotNotFound):
                self._zfs.rollback(found.snapshot, destroy_newer=destroy_newer)
            return self._lookup.at(row.dataset).to_dict()
