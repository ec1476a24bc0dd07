"""Clones of directory volumes, and going back to a snapshot.

A clone has links to its snapshot's objects and copies of its databases; so it needs its origin for
nothing. That a snapshot cannot be destroyed while a clone stands on it, and what ``promote`` moves,
is as on ZFS all the same: what is a clone of what does not depend on the substrate.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from modules.durable import durable_file, fsync_directory
from modules.errors import HasDependents, InvalidArgument, SnapshotExists
from modules.volumes import Volume
from zfsstore import layout
from zfsstore.layout import VolumeRecord
from zfsstore.volumes import common, directory_trees
from zfsstore.volumes.directory_base import Found
from zfsstore.volumes.directory_journal import Move, Step, Unlink, Write
from zfsstore.volumes.directory_records import (
    ORIGIN_FILE,
    SnapshotRecord,
    find_snapshot,
    format_origin,
    read_origin,
)
from zfsstore.volumes.directory_snapshots import SnapshotCalls, place
from zfsstore.zfs.names import split_volume_name


class CloneCalls(SnapshotCalls):
    """The calls of CloneBackend, with promote and rollback."""

    def create_clone(
        self, parent_volume_uuid: str, parent_snapshot_uuid: str, new_name: str
    ) -> Volume:
        """Make a volume with the snapshot's content, a uuid of its own and no quota.

        Its objects count to the quota of its tenant like any others.
        """
        parts = split_volume_name(new_name)
        with (
            self._control("create clone", new_name),
            self._journal.aside() as work,
        ):
            parent = self._need(parent_volume_uuid, "clone volume")
            snapshot = find_snapshot(
                self._snapshots(parent),
                parent_snapshot_uuid,
                operation="clone snapshot",
                subject=parent.name,
            )
            path = self._require_free(new_name, "create clone")
            self._make_fences(new_name)
            source, aside = place(parent, snapshot.name), f"{work}/clone"
            os.mkdir(aside)
            directory_trees.make_live(source, aside, self._instance)
            key_domain = layout.read_volume_file(source, subject=parent.name).key_domain
            record = VolumeRecord(key_domain, common.new_uuid(), parts[-1])
            with durable_file(f"{aside}/{ORIGIN_FILE}") as file:
                file.write(format_origin(snapshot.uuid).encode())
            layout.write_volume_file(aside, record)
            fsync_directory(aside)
            directory_trees.give_to_owner(aside, os.path.dirname(path))
            self._journal.commit([Move(aside, path), *self._counted_again(new_name)])
            return self._volume(Found(path, new_name, record))

    def promote_volume(self, uuid: str) -> Volume:
        """Let a clone take its origin's place: the parent's snapshots up to its own become its.

        The parent becomes a clone of it. A clone whose origin was destroyed, or lies in the
        trash, is no clone.
        """
        with self._control("promote volume", uuid):
            found = self._need(uuid, "promote volume")
            origin = read_origin(found.path)
            owner = None if origin is None else self._owners().get(origin)
            if owner is None:
                raise InvalidArgument(
                    "it is no clone", field="uuid", operation="promote volume", subject=found.name
                )
            parent, snapshot = owner
            moving = [s for s in self._snapshots(parent) if s.created_ns <= snapshot.created_ns]
            self._refuse_clashes(found, moving)
            steps: list[Step] = [
                Move(place(parent, moved.name), place(found, moved.name)) for moved in moving
            ]
            before = read_origin(parent.path)
            own = found.own(ORIGIN_FILE)
            steps.append(Unlink(own) if before is None else Write(own, format_origin(before)))
            steps.append(Write(parent.own(ORIGIN_FILE), format_origin(snapshot.uuid)))
            self._make_snapshots_directory(found)
            self._journal.commit(steps)
            return self._volume(found)

    def rollback_volume(
        self, volume_uuid: str, snapshot_uuid: str, *, destroy_newer: bool = False
    ) -> Volume:
        """Make the volume what it was at a snapshot; what was done since is gone for good.

        It keeps its uuid, name, quota and older snapshots, and what a sweep quarantined.
        """
        with (
            self._control("roll back volume", volume_uuid),
            self._journal.aside() as work,
        ):
            found = self._need(volume_uuid, "roll back volume")
            snapshots = self._snapshots(found)
            target = find_snapshot(
                snapshots, snapshot_uuid, operation="roll back volume", subject=found.name
            )
            newer = [s for s in snapshots if s.created_ns > target.created_ns]
            self._refuse_newer(found, newer, destroy_newer=destroy_newer)
            self._prepare(found, place(found, target.name), work)
            with self._alone([found.name]):
                self._switch(found, work, gone=newer)
            return self._volume(self._need(volume_uuid, "roll back volume"))

    def _prepare(self, found: Found, source: str, work: str) -> None:
        """Build in *work* what a volume holds when it is as the snapshot in directory *source*."""
        for directory in (f"{work}/new", f"{work}/old"):
            os.mkdir(directory)
        directory_trees.make_live(source, f"{work}/new", self._instance)
        key_domain = layout.read_volume_file(source, subject=found.name).key_domain
        layout.write_volume_file(f"{work}/new", replace(found.record, key_domain=key_domain))
        directory_trees.give_to_owner(f"{work}/new", found.path)

    def _switch(
        self,
        found: Found,
        work: str,
        *,
        gone: Sequence[SnapshotRecord] = (),
        come: Sequence[Move] = (),
    ) -> None:
        """Give a volume that nobody uses what was prepared in *work*.

        Meanwhile it has no volume.json, so nobody begins to use it: it says Unavailable.

        Args:
            gone: snapshots of the volume that go.
            come: with what else comes, a new snapshot.
        """
        new, old = f"{work}/new", f"{work}/old"
        content = Path(new, layout.VOLUME_FILE).read_text()
        steps: list[Step] = [Move(found.own(layout.VOLUME_FILE), f"{old}/volume.json")]
        for part in (layout.OBJECTS, layout.STATE):
            steps.append(Move(found.own(part), f"{old}/{os.path.basename(part)}"))
            steps.append(Move(f"{new}/{part}", found.own(part)))
        steps += [
            Move(place(found, snapshot.name), f"{old}/{number}")
            for number, snapshot in enumerate(gone)
        ]
        steps += come
        steps.append(Unlink(found.own(layout.USAGE)))  # counted again when it is next needed
        steps.append(Write(found.own(layout.VOLUME_FILE), content))
        self._journal.commit([*steps, *self._counted_again(found.name)])

    def _refuse_newer(
        self, found: Found, newer: list[SnapshotRecord], *, destroy_newer: bool
    ) -> None:
        if newer and not destroy_newer:
            raise HasDependents(
                f"there are newer snapshots: {', '.join(s.name for s in newer)[:200]}",
                operation="roll back volume",
                subject=found.name,
                hint="roll back to the newest, or ask for the newer ones to be destroyed",
            )
        self._refuse_dependents(newer, "roll back volume", found.name, [])

    def _refuse_clashes(self, found: Found, moving: list[SnapshotRecord]) -> None:
        own = {snapshot.name for snapshot in self._snapshots(found)}
        clashes = [snapshot.name for snapshot in moving if snapshot.name in own]
        if clashes:
            raise SnapshotExists(
                f"it and its parent both have a snapshot {clashes[0]!r}",
                operation="promote volume",
                subject=found.name,
                hint="delete one of them first",
            )
