"""Snapshots of volumes. Their uuid follows from the guid: it outlives rename, promote and send."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from modules.errors import HasDependents, NotFound, SnapshotExists, SnapshotNotFound, VolumeNotFound
from modules.volumes import Snapshot
from zfsstore.volumes import common
from zfsstore.volumes.datasets import Found
from zfsstore.volumes.zfs_naming import named_errors
from zfsstore.volumes.zfs_volume_calls import VolumeCalls
from zfsstore.zfs.listing import Listed
from zfsstore.zfs.names import check_short_name, check_snapshot_name

_PROPERTIES: Final = ("creation", "used", "guid")
_LISTED_AT_ONCE: Final = 5000
"""Names in one command: an argv of 2 MiB holds so many of the longest."""


@dataclass(frozen=True, slots=True)
class FoundSnapshot:
    """A snapshot; ``full_name`` is ``DATASET@NAME``."""

    full_name: str
    uuid: str
    used_bytes: int
    created_at: datetime | None

    @property
    def name(self) -> str:
        """What follows the "@"."""
        return self.full_name.partition("@")[2]

    def to_dict(self) -> Snapshot:
        """Return the snapshot in the shape of the contract."""
        found = Snapshot(uuid=self.uuid, name=self.name, size_consumed=self.used_bytes)
        if self.created_at is not None:
            found["create_time"] = f"{self.created_at:%Y-%m-%dT%H:%M:%SZ}"
        return found


class SnapshotCalls(VolumeCalls):
    """The second tier."""

    def create_snapshot(self, volume_uuid: str, name: str) -> Snapshot:
        """Freeze the volume, without a tenant's buckets.

        Raises:
            VolumeNotFound, SnapshotExists, InvalidName
        """
        (made,) = self.create_snapshots([volume_uuid], name)
        return made

    def create_snapshots(self, volume_uuids: Sequence[str], name: str) -> list[Snapshot]:
        """Freeze all these volumes at one and the same moment, or none of them.

        One command takes the snapshots, for any number of volumes.

        Returns:
            Of each volume the snapshot, in the order given; one that is named twice has one.

        Raises:
            VolumeNotFound, SnapshotExists, InvalidName
        """
        check_short_name(name)
        subject = f"{name!r} of {len(volume_uuids)} volumes"
        with self._lookup.control("create snapshot", subject):
            volumes = self._lookup.need_all(volume_uuids, "create snapshot of volume")
            names = [check_snapshot_name(f"{found.dataset}@{name}") for found in volumes]
            if not names:
                return []
            if len(volumes) == 1:
                subject = f"{volumes[0].name}@{name}"
            with named_errors("create snapshot", subject, taken=SnapshotExists):
                self._zfs.snapshot(names)
            with named_errors("create snapshot", subject, missing=SnapshotNotFound):
                made = [one for part in _parts(names) for one in self._listed(part)]
        by_name = {one.full_name: one for one in made}
        return [by_name[full_name].to_dict() for full_name in names]

    def list_snapshots(self, volume_uuid: str) -> list[Snapshot]:
        """Return the volume's own snapshots, oldest first; one command for all."""
        found = self._lookup.need(volume_uuid, "list snapshots of volume")
        return [one.to_dict() for one in self._snapshots(found)]

    def get_snapshot(self, volume_uuid: str, snapshot_uuid: str) -> Snapshot | None:
        """Return the snapshot, or None."""
        found = self._lookup.need(volume_uuid, "get snapshot of volume")
        wanted = common.parse_uuid(snapshot_uuid)
        return next((s.to_dict() for s in self._snapshots(found) if s.uuid == wanted), None)

    def delete_snapshot(self, volume_uuid: str, snapshot_uuid: str) -> None:
        """Destroy the snapshot, for good.

        Raises:
            VolumeNotFound, SnapshotNotFound
            HasDependents: a clone stands on it.
            Busy: it is held, or being read.
        """
        with self._lookup.control("delete snapshot", snapshot_uuid):
            found = self._lookup.need(volume_uuid, "delete snapshot of volume")
            _all, wanted = self._need_snapshot(found, snapshot_uuid, "delete snapshot")
            label = f"{found.name}@{wanted.name}"
            try:
                with named_errors("delete snapshot", label, missing=SnapshotNotFound):
                    self._zfs.destroy_snapshots(found.dataset, [wanted.name])
            except HasDependents as error:
                raise self._dependents_error("delete snapshot", label, wanted.full_name) from error

    def _snapshots(self, found: Found) -> list[FoundSnapshot]:
        """Return the snapshots of the volume alone, oldest first."""
        try:
            return [
                _parsed(listed) for listed in self._zfs.list_snapshots(found.dataset, _PROPERTIES)
            ]
        except NotFound as error:
            raise VolumeNotFound(
                "it is gone", operation="list snapshots of", subject=found.name
            ) from error

    def _need_snapshot(
        self, found: Found, snapshot_uuid: str, operation: str
    ) -> tuple[list[FoundSnapshot], FoundSnapshot]:
        """Return all of the volume's snapshots, oldest first, and the one with this uuid.

        Raises:
            SnapshotNotFound: the volume has none.
        """
        snapshots = self._snapshots(found)
        wanted = common.parse_uuid(snapshot_uuid)
        for snapshot in snapshots:
            if snapshot.uuid == wanted:
                return snapshots, snapshot
        raise SnapshotNotFound(
            f"the volume {found.name!r} has no snapshot with this uuid",
            operation=operation,
            subject=repr(snapshot_uuid),
        )

    def _listed(self, full_names: Sequence[str]) -> list[FoundSnapshot]:
        listed = self._zfs.list_datasets(full_names, _PROPERTIES, types=("snapshot",))
        return [_parsed(one) for one in listed]

    def _clones(self, name: str) -> list[str]:
        """Return the datasets that are clones of a snapshot, or of any of a dataset's tree.

        Those inside the tree are not among them.
        """
        listed = self._zfs.list_datasets(
            [name], ("clones",), types=("snapshot",), recursive="@" not in name
        )
        clones = {
            clone for one in listed for clone in (one.value("clones") or "").split(",") if clone
        }
        return sorted(c for c in clones if c != name and not c.startswith(f"{name}/"))

    def _dependents_error(self, operation: str, subject: str, name: str) -> HasDependents:
        """Return the error that names the clones which keep *name* from being destroyed."""
        clones = self._clones(name)
        called = self._lookup.names(clones)
        shown = ", ".join(sorted(called.values())[:5]) + (", ..." if len(called) > 5 else "")
        return HasDependents(
            f"{len(clones)} clone{'s' * (len(clones) != 1)} of it: {shown}",
            operation=operation,
            subject=subject,
            hint="promote or delete the clone first",
        )


def _parsed(listed: Listed) -> FoundSnapshot:
    guid, created = listed.number("guid"), listed.number("creation")
    return FoundSnapshot(
        full_name=listed.name,
        uuid=common.snapshot_uuid(str(guid)),
        used_bytes=listed.number("used") or 0,
        created_at=None if created is None else datetime.fromtimestamp(created, UTC),
    )


def _parts(names: Sequence[str]) -> list[Sequence[str]]:
    starts = range(0, len(names), _LISTED_AT_ONCE)
    return [names[start : start + _LISTED_AT_ONCE] for start in starts]
