"""Clones of snapshots, and what turns a volume back or makes a clone stand by itself."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Final

from modules.errors import (
    AlreadyExists,
    Conflict,
    HasDependents,
    IntegrityError,
    InvalidArgument,
    NotFound,
    SnapshotExists,
    SnapshotNotFound,
    StorageError,
    VolumeExists,
)
from modules.volumes import Volume
from zfsstore import layout
from zfsstore.layout import VolumeRecord
from zfsstore.volumes import common
from zfsstore.volumes.datasets import (
    PROPERTIES,
    UUID,
    Found,
    creation_properties,
    is_complete,
    refuse_locked,
    require_mounted,
    settle,
    unusable,
)
from zfsstore.volumes.properties import SETTABLE
from zfsstore.volumes.zfs_naming import named_errors
from zfsstore.volumes.zfs_snapshot_calls import FoundSnapshot, SnapshotCalls
from zfsstore.volumes.zfs_volume_calls import no_tenant, to_dict
from zfsstore.zfs.commands import Dataset
from zfsstore.zfs.names import split_volume_name

_log = logging.getLogger(__name__)

_NOT_COPIED: Final = frozenset({"reservation", "refreservation"})
"""A clone shares its origin's blocks: nothing is to be set aside for it unasked."""


class CloneCalls(SnapshotCalls):
    """The third tier, with promote and rollback."""

    def create_clone(
        self, parent_volume_uuid: str, parent_snapshot_uuid: str, new_name: str
    ) -> Volume:
        """Make a writable volume with the snapshot's content, in O(1); durable on return.

        It has a uuid of its own, and the quota and chosen properties of the volume it comes
        from; encryption and deduplication take it for the same (its key_domain stays). When a
        step fails it is destroyed again; the same call completes what a crash left.

        Raises:
            VolumeNotFound, SnapshotNotFound: of the parent; or the new one's tenant is not there.
            VolumeExists: the new name is taken.
            Conflict: the snapshot was taken before the volume was complete.
        """
        parts = split_volume_name(new_name)
        dataset = self._lookup.dataset(parts)
        with self._lookup.control("clone volume", new_name):
            parent, present = self._lookup.need_with(
                parent_volume_uuid, "clone volume", tuple(SETTABLE)
            )
            refuse_locked(parent, operation="clone volume")
            _refuse_shared_key(parent, new_name)
            _all, origin = self._need_snapshot(parent, parent_snapshot_uuid, "clone snapshot")
            self._make_trash()
            uuid = common.new_uuid()
            options = _clone_properties(present, uuid, parts[-1])
            with self._undone(dataset, uuid):
                try:
                    self._zfs.clone(origin.full_name, dataset, options)
                except AlreadyExists as error:
                    uuid = self._resume_clone(dataset, origin, new_name, error)
                except SnapshotNotFound:
                    raise
                except NotFound as error:
                    raise no_tenant(new_name, "clone volume") from error
                found = self._complete_clone(dataset, uuid, new_name)
            return to_dict(found)

    def promote_volume(self, uuid: str) -> Volume:
        """Let a clone stand by itself: it takes over its origin's snapshots up to its own.

        The volume that it came from becomes its clone. Nothing is unmounted.

        Raises:
            InvalidArgument: it is no clone.
            SnapshotExists: both have a snapshot of the same name.
        """
        with self._lookup.control("promote volume", uuid):
            found = self._lookup.need(uuid, "promote volume")
            with named_errors("promote volume", found.name, taken=SnapshotExists):
                self._zfs.promote(found.dataset)
            return to_dict(self._lookup.need(uuid, "promote volume"))

    def rollback_volume(
        self, volume_uuid: str, snapshot_uuid: str, *, destroy_newer: bool = False
    ) -> Volume:
        """Make the volume what it was at a snapshot; it keeps its uuid, name and quota.

        Raises:
            HasDependents: there are newer snapshots and not *destroy_newer*, or clones of them.
            Busy: it was not let go in time, or a newer snapshot is being read.
            Unavailable: it is not mounted.
        """
        with self._lookup.control("roll back volume", volume_uuid):
            found = self._lookup.need(volume_uuid, "roll back volume")
            snapshots, wanted = self._need_snapshot(found, snapshot_uuid, "roll back to snapshot")
            if not found.is_mounted:
                raise unusable(found, operation="roll back volume")
            label = f"{found.name}@{wanted.name}"
            newer = snapshots[snapshots.index(wanted) + 1 :]
            self._check_newer(label, newer, destroy_newer=destroy_newer)
            with self._lookup.alone([found.name], patience_s=self.patience_s):
                record = _record_of(found)
                with named_errors("roll back to snapshot", label, missing=SnapshotNotFound):
                    self._until_free(
                        lambda: self._zfs.rollback(wanted.full_name, destroy_newer=destroy_newer)
                    )
                self._settle_rolled_back(found, record)
            return to_dict(self._lookup.need(volume_uuid, "roll back volume"))

    def _check_newer(self, label: str, newer: list[FoundSnapshot], *, destroy_newer: bool) -> None:
        """Make sure that a rollback may, and can, destroy all newer snapshots, before any is.

        Raises:
            HasDependents: it may not.
        """
        if newer and not destroy_newer:
            raise HasDependents(
                f"{len(newer)} snapshots are newer: {', '.join(s.name for s in newer[:5])}",
                operation="roll back to snapshot",
                subject=label,
                hint="ask for the newer ones to be destroyed, too",
            )
        for snapshot in newer:
            if self._clones(snapshot.full_name):
                raise self._dependents_error(
                    "destroy newer snapshot", snapshot.name, snapshot.full_name
                )

    def _settle_rolled_back(self, found: Found, record: VolumeRecord | None) -> None:
        """Bring volume.json up to date; a snapshot of an unfinished volume gets what it lacks."""
        if record is not None and not found.is_read_only and not is_complete(found):
            layout.create_layout(found.path, instance=self._instance)
            layout.write_volume_file(found.path, record)
        settle(found)

    def _complete_clone(self, dataset: str, uuid: str, name: str) -> Found:
        """Make it known as a volume of its own, and return it.

        Raises:
            Conflict: there is no volume in it.
        """
        path = self._lookup.path(split_volume_name(name))
        require_mounted(dataset, path, operation="clone volume")
        self._lookup.remember(uuid, dataset)
        found = self._lookup.need(uuid, "clone volume")
        if not is_complete(found):
            raise Conflict(
                "the snapshot was taken before the volume was complete",
                operation="clone volume",
                subject=name,
                hint="choose another snapshot",
            )
        self._lookup.create_fence(name)
        settle(found)
        return found

    def _resume_clone(
        self, dataset: str, origin: FoundSnapshot, name: str, error: AlreadyExists
    ) -> str:
        """Return the uuid of a clone that an interrupted call left, mounted.

        Its volume.json still says that it is the volume it was cloned from.

        Raises:
            VolumeExists: it is complete, or no clone of this snapshot.
        """
        (present,) = self._zfs.get([dataset], PROPERTIES)
        uuid = present.own(UUID)
        if uuid is not None and present.value("origin") == origin.full_name:
            self._zfs.mount(dataset)
            path = self._lookup.path(split_volume_name(name))
            with suppress(OSError):
                if layout.read_volume_file(path, subject=name).uuid != uuid:
                    return uuid
        raise VolumeExists(
            "it exists already" if uuid else f"the dataset {dataset} is in the way",
            operation="clone volume",
            subject=name,
        ) from error

    @contextmanager
    def _undone(self, dataset: str, uuid: str, *, with_snapshots: bool = False) -> Iterator[None]:
        """Destroy the dataset again when the block fails, if the block has made it."""
        try:
            yield
        except BaseException:
            try:
                self._destroy_own(dataset, uuid, with_snapshots=with_snapshots)
            except StorageError:
                _log.exception("cannot take back the unfinished volume %s", dataset)
            raise

    def _destroy_own(self, dataset: str, uuid: str, *, with_snapshots: bool) -> None:
        with suppress(NotFound):
            (present,) = self._zfs.get([dataset], (UUID,))
            if present.own(UUID) == uuid:
                self._zfs.destroy(dataset, recursive=with_snapshots)


def _clone_properties(parent: Dataset, uuid: str, name: str) -> Mapping[str, str]:
    """Return what the creating command of a clone sets: what the parent has of its own."""
    own = {name: parent.own(name) for name in SETTABLE if name not in _NOT_COPIED}
    chosen = {name: value for name, value in own.items() if value not in (None, "0", "none")}
    return {**creation_properties(uuid, name, None), **{k: str(v) for k, v in chosen.items()}}


def _refuse_shared_key(parent: Found, new_name: str) -> None:
    """Keep the clone in its tenant when it is encrypted: it has the same key for good.

    Raises:
        InvalidArgument: it would be, or be in, another tenant, which then is locked and unlocked
            with this one.
    """
    tenant = parent.name.partition("/")[0]
    if not parent.has_tenants_key or new_name.startswith(f"{tenant}/"):
        return
    raise InvalidArgument(
        f"a clone has the key of the encrypted tenant {tenant!r}, and must stay in it",
        field="new_name",
        operation="clone volume",
        subject=f"{parent.name} to {new_name}",
        hint="copy the objects instead",
    )


def _record_of(found: Found) -> VolumeRecord | None:
    """Return what volume.json says, None when the volume has none, or a damaged one."""
    with suppress(OSError, IntegrityError):
        return layout.read_volume_file(found.path, subject=found.name)
    return None
