"""The backend's calls that keep snapshots, and bookmarks of them, for streams to come."""

from __future__ import annotations

from typing import TypedDict

from zfsstore.backend.lookup import named_errors
from zfsstore.backend.rows import SnapshotRow, VolumeRow
from zfsstore.backend.snapshot_calls import SnapshotCalls
from zfsstore.volumes.common import snapshot_uuid
from zfsstore.zfs.names import check_short_name


class Bookmark(TypedDict):
    """What is left of a snapshot, as the base of a stream; ``uuid`` is the snapshot's."""

    uuid: str
    name: str


class KeepingCalls(SnapshotCalls):
    """Holds keep a snapshot from being destroyed; bookmarks outlive it and take no space."""

    def hold_snapshot(self, volume_uuid: str, snapshot_uuid: str, tag: str) -> None:
        """Keep a snapshot from being destroyed until *tag* is released.

        Raises:
            VolumeNotFound, SnapshotNotFound: there is none.
            AlreadyExists: it has this tag already.
            InvalidName: *tag* cannot be one.
        """
        with self._lookup.turn():
            found = self._held(volume_uuid, snapshot_uuid, "hold snapshot")
            self._zfs.hold(tag, [found.snapshot])

    def release_snapshot(self, volume_uuid: str, snapshot_uuid: str, tag: str) -> None:
        """Take *tag* off a snapshot.

        Raises:
            VolumeNotFound, SnapshotNotFound: there is none.
            NotFound: it has no such tag.
        """
        with self._lookup.turn():
            found = self._held(volume_uuid, snapshot_uuid, "release snapshot")
            self._zfs.release(tag, [found.snapshot])

    def list_holds(self, volume_uuid: str, snapshot_uuid: str) -> list[str]:
        """Return the tags that hold a snapshot.

        Raises:
            VolumeNotFound, SnapshotNotFound: there is none.
        """
        found = self._held(volume_uuid, snapshot_uuid, "list holds of snapshot")
        return [hold.tag for hold in self._zfs.holds([found.snapshot])]

    def create_bookmark(self, volume_uuid: str, snapshot_uuid: str, name: str) -> Bookmark:
        """Make a bookmark of a snapshot: as ``base="#NAME"`` of a stream it stands for it.

        Raises:
            VolumeNotFound, SnapshotNotFound: there is none.
            AlreadyExists: the volume has a bookmark of that name.
        """
        with self._lookup.turn():
            found = self._held(volume_uuid, snapshot_uuid, "bookmark snapshot")
            self._zfs.bookmark(found.snapshot, name)
            return Bookmark(uuid=found.uuid, name=name)

    def list_bookmarks(self, volume_uuid: str) -> list[Bookmark]:
        """Return the volume's bookmarks, from old to new.

        Raises:
            VolumeNotFound: there is no such volume.
        """
        row = self._lookup.need(volume_uuid, "list bookmarks of volume")
        return self._bookmarks(row)

    def delete_bookmark(self, volume_uuid: str, name: str) -> None:
        """Destroy a bookmark.

        Raises:
            VolumeNotFound, NotFound: there is none.
        """
        check_short_name(name)
        with self._lookup.turn():
            row = self._lookup.need(volume_uuid, "delete bookmark of volume")
            self._zfs.destroy_bookmark(f"{row.dataset}#{name}")

    def _held(self, volume_uuid: str, snapshot_uuid: str, operation: str) -> SnapshotRow:
        row = self._lookup.need(volume_uuid, f"{operation} of volume")
        return self._lookup.need_snapshot(row, snapshot_uuid, operation)

    def _bookmarks(self, row: VolumeRow) -> list[Bookmark]:
        with named_errors("list bookmarks of", row.name):
            listed = self._zfs.list_bookmarks(row.dataset, ["guid"])
        return [
            Bookmark(uuid=snapshot_uuid(one.properties["guid"]), name=one.name.partition("#")[2])
            for one in listed
        ]
