"""Snapshots of directory volumes: their databases copied, their objects linked.

A snapshot lies in ``.zfsstore/snapshots/NAME`` of its volume and is laid out like one. It is built
aside and renamed into place, so it is there wholly or not at all. Puts go on meanwhile; deletes
wait (the delete fence), because an object must not disappear between the copy of the index that
names it and the link that keeps it.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from modules.durable import fsync_directory, make_directories
from modules.errors import SnapshotExists
from modules.volumes import Snapshot
from zfsstore import layout
from zfsstore.volumes import common, delete_fence, directory_trees
from zfsstore.volumes.directory_base import DirectoryBase, Found
from zfsstore.volumes.directory_journal import Move
from zfsstore.volumes.directory_records import (
    SnapshotRecord,
    check_snapshot,
    find_snapshot,
    next_moment,
    read_origin,
)


class SnapshotCalls(DirectoryBase):
    """The calls of SnapshotBackend, and of many at once."""

    def create_snapshot(self, volume_uuid: str, name: str) -> Snapshot:
        """Freeze the volume as it is at one moment; durable when this returns.

        Takes time and directory entries for each object, but no room. Databases are copied.
        """
        return self.create_snapshots([volume_uuid], name)[0]

    def create_snapshots(self, volume_uuids: Sequence[str], name: str) -> list[Snapshot]:
        """Freeze each of these volumes, or none of them; each at a moment of its own."""
        check_snapshot(name)
        uuids = list(dict.fromkeys(volume_uuids))
        with (
            self._control("create snapshot", name),
            self._journal.aside() as work,
        ):
            volumes = [self._need(uuid, "create snapshot of volume") for uuid in uuids]
            for found in volumes:
                self._refuse_existing(found, name)
            made, moves = [], []
            for number, found in enumerate(volumes):
                aside = f"{work}/{number}"
                made.append(self._freeze(found, name, aside))
                self._make_snapshots_directory(found)
                moves.append(Move(aside, place(found, name)))
            if moves:
                self._journal.commit(moves)
        return [snapshot.to_dict() for snapshot in made]

    def list_snapshots(self, volume_uuid: str) -> list[Snapshot]:
        """Return the volume's snapshots, oldest first."""
        found = self._settled(
            lambda: self._snapshots(self._need(volume_uuid, "list snapshots of volume"))
        )
        return [snapshot.to_dict() for snapshot in found]

    def get_snapshot(self, volume_uuid: str, snapshot_uuid: str) -> Snapshot | None:
        """Return the snapshot, or None."""
        wanted = common.parse_uuid(snapshot_uuid)
        found = self._settled(lambda: self._find(volume_uuid))
        listed = [] if found is None else self.list_snapshots(volume_uuid)
        return next((snapshot for snapshot in listed if snapshot["uuid"] == wanted), None)

    def delete_snapshot(self, volume_uuid: str, snapshot_uuid: str) -> None:
        """Destroy the snapshot, for good. Who reads in it goes on with what is open."""
        with (
            self._control("delete snapshot", snapshot_uuid),
            self._journal.aside() as work,
        ):
            found = self._need(volume_uuid, "delete snapshot of volume")
            snapshot = find_snapshot(
                self._snapshots(found),
                snapshot_uuid,
                operation="delete snapshot",
                subject=found.name,
            )
            subject = f"{found.name}@{snapshot.name}"
            self._refuse_dependents([snapshot], "delete snapshot", subject, [])
            self._journal.commit([Move(place(found, snapshot.name), f"{work}/doomed")])

    def _make_snapshots_directory(self, found: Found) -> None:
        path = found.own(layout.SNAPSHOTS)
        if not os.path.isdir(path):
            make_directories(path, mode=0o700)
            directory_trees.give_to_owner(path, found.path)

    def _refuse_existing(self, found: Found, name: str) -> None:
        if os.path.lexists(place(found, name)):
            raise SnapshotExists(
                "it exists already", operation="create snapshot", subject=f"{found.name}@{name}"
            )

    def _freeze(self, found: Found, name: str, aside: str) -> SnapshotRecord:
        """Build the volume's snapshot in the new directory *aside*."""
        state, objects = f"{aside}/{layout.STATE}", f"{aside}/{layout.OBJECTS}"
        for directory in (state, objects):
            os.makedirs(directory, mode=0o700)
        with delete_fence.alone(layout.fence_path(self._root, found.name)):
            size = directory_trees.back_up_databases(found.own(layout.STATE), state)
            directory_trees.link_objects(found.path, aside)
        moment = next_moment([*self._snapshots(found), *self._origin_of(found)])
        snapshot = SnapshotRecord(common.new_uuid(), name, moment, size)
        seal(aside, snapshot, found.record)
        directory_trees.give_to_owner(aside, found.path)
        return snapshot

    def _origin_of(self, found: Found) -> list[SnapshotRecord]:
        """Return the snapshot that a clone was made of: its own must be younger."""
        origin = read_origin(found.path)
        owner = None if origin is None else self._owners().get(origin)
        return [] if owner is None else [owner[1]]


def seal(path: str, snapshot: SnapshotRecord, record: layout.VolumeRecord) -> None:
    """Write what makes a snapshot complete, durably."""
    layout.write_volume_file(path, record)
    snapshot.write(path)
    for directory in (f"{path}/{layout.OWN}", path):
        fsync_directory(directory)


def place(found: Found, name: str) -> str:
    """Return the directory of a snapshot."""
    return layout.snapshot_path(found.path, name, is_dataset=False)
