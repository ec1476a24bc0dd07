"""What a module with volumes offers, in tiers: volumes, snapshots, clones, replication.

A backend that cannot clone is not a CloneBackend: nothing is emulated. Names, dict shapes and
semantics follow the nessie-store Python bindings 0.3.1, so that its conformance suite runs
against ours; ``get_volume`` and ``get_snapshot`` return None for what is absent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NotRequired, Protocol, TypedDict, runtime_checkable


class CloneOrigin(TypedDict):
    """Where a clone came from, by name."""

    parent_volume: str
    parent_snapshot: str


class Volume(TypedDict):
    """One volume. ``size_bytes`` is its quota in bytes, None for no quota."""

    uuid: str
    name: str
    size_bytes: int | None
    state: str  # "online", "offline" or "restricted"
    style: str  # "flexvol"
    vol_type: str  # "rw" or "dp"
    used_bytes: NotRequired[int]
    clone: NotRequired[CloneOrigin]


class Snapshot(TypedDict):
    """One snapshot; ``create_time`` is RFC 3339."""

    uuid: str
    name: str
    size_consumed: int
    create_time: NotRequired[str]


@dataclass(frozen=True, slots=True)
class DestroyPlan:
    """What a destroy would remove, in that order, and the bytes that would become free."""

    names: tuple[str, ...]
    reclaim_bytes: int


@dataclass(frozen=True, slots=True)
class TrashedVolume:
    """A volume in the trash, with all that was in it.

    Attributes:
        id: of this entry in the trash; for restore and empty.
        uuid, name: the volume's, as they were.
        trashed_at: when; None when that was not recorded.
        used_bytes: what it takes, with its snapshots and buckets.
    """

    id: str
    uuid: str
    name: str
    trashed_at: datetime | None
    used_bytes: int


@runtime_checkable
class VolumeBackend(Protocol):
    """Create, find, resize and remove volumes. Names are "acme" or "acme/photos", any UTF-8.

    Every method may be called by many threads and processes at once.
    """

    def capabilities(self) -> dict[str, bool]:
        """Return ``{"snapshots", "clones", "replication"}``, true for exactly what is offered."""

    def create_volume(self, name: str, size_bytes: int | None = None) -> Volume:
        """Create a volume, durable when this returns, with an optional quota.

        Raises:
            modules.errors.VolumeExists, modules.errors.InvalidName,
            modules.errors.VolumeNotFound: the parent tenant does not exist.
        """

    def list_volumes(self) -> list[Volume]:
        """Return every volume, sorted by name; one command, or one walk, for all."""

    def get_volume(self, uuid: str) -> Volume | None:
        """Return the volume, or None."""

    def delete_volume(self, uuid: str) -> None:
        """Move the volume, with its snapshots and data, to the trash.

        Raises:
            modules.errors.VolumeNotFound
        """

    def patch_volume(
        self,
        uuid: str,
        size_bytes: int | None = None,
        junction_path: str | None = None,
        export_policy: str | None = None,
    ) -> Volume:
        """Change what is not None and return the volume."""

    def access_handle(self, uuid: str) -> dict[str, Any]:
        """Return how a client reaches the data, tagged by ``kind``."""


@runtime_checkable
class SnapshotBackend(VolumeBackend, Protocol):
    """A VolumeBackend whose volumes can be frozen and read as they were.

    A snapshot's name is made of letters, digits, spaces and ``_.:-``, and is unique in its volume.
    """

    def create_snapshot(self, volume_uuid: str, name: str) -> Snapshot:
        """Freeze the volume as it is at one moment, databases and objects together.

        Raises:
            modules.errors.VolumeNotFound, modules.errors.SnapshotExists,
            modules.errors.InvalidName
        """

    def list_snapshots(self, volume_uuid: str) -> list[Snapshot]:
        """Return the volume's own snapshots, oldest first."""

    def get_snapshot(self, volume_uuid: str, snapshot_uuid: str) -> Snapshot | None:
        """Return the snapshot, or None."""

    def delete_snapshot(self, volume_uuid: str, snapshot_uuid: str) -> None:
        """Destroy the snapshot, for good.

        Raises:
            modules.errors.VolumeNotFound, modules.errors.SnapshotNotFound
            modules.errors.HasDependents: a clone stands on it.
        """


@runtime_checkable
class CloneBackend(SnapshotBackend, Protocol):
    """A SnapshotBackend whose snapshots can become writable volumes."""

    def create_clone(
        self, parent_volume_uuid: str, parent_snapshot_uuid: str, new_name: str
    ) -> Volume:
        """Make a volume with the snapshot's content and a uuid of its own."""


@runtime_checkable
class ReplicationBackend(CloneBackend, Protocol):
    """A CloneBackend whose snapshots can be sent to, and received from, another backend."""

    def send_stream(self, volume: str, snapshot: str, base: str | None = None) -> Any:
        """Return the snapshot (or what changed since *base*), all by name, as a byte stream."""

    def receive_stream(self, destination: str, stream: Any) -> int:
        """Make or update the volume called *destination*; return the stream's bytes."""


@runtime_checkable
class OperatorBackend(CloneBackend, Protocol):
    """What an operator may do beyond the tiers.

    What would pull open files away (rename, rollback, destroy, moving to and out of the trash)
    waits until nobody holds the volume's fence (modules.fences), and holds off new users.
    """

    def create_snapshots(self, volume_uuids: Sequence[str], name: str) -> list[Snapshot]:
        """Freeze all these volumes at one and the same moment, or none of them.

        A tenant is frozen with all its buckets by naming them all. On plain directories each
        volume is consistent in itself; the moments differ.

        Raises:
            modules.errors.SnapshotExists: one of them has a snapshot of that name.
        """

    def rename_volume(self, uuid: str, new_name: str) -> Volume:
        """Rename a volume; a bucket may move to another tenant, a tenant takes its buckets along.

        Raises:
            modules.errors.VolumeExists, modules.errors.VolumeNotFound, modules.errors.Busy
        """

    def promote_volume(self, uuid: str) -> Volume:
        """Let a clone stand by itself: it takes over its origin's snapshots up to its own.

        Raises:
            modules.errors.InvalidArgument: it is no clone.
            modules.errors.SnapshotExists: both have a snapshot of the same name.
        """

    def rollback_volume(
        self, volume_uuid: str, snapshot_uuid: str, *, destroy_newer: bool = False
    ) -> Volume:
        """Make the volume what it was at a snapshot; it keeps its uuid, name and quota.

        Raises:
            modules.errors.HasDependents: there are newer snapshots and not *destroy_newer*, or
                clones of them.
            modules.errors.Busy: it is in use.
        """

    def plan_destroy(self, uuid: str) -> DestroyPlan:
        """Return what ``destroy_volume`` would remove. Nothing is changed."""

    def destroy_volume(self, uuid: str) -> None:
        """Destroy a volume with its snapshots, and a tenant with its buckets, for good.

        Raises:
            modules.errors.HasDependents: a volume outside it is a clone of one of its snapshots.
        """

    def list_trash(self) -> list[TrashedVolume]:
        """Return what lies in the trash, oldest first."""

    def restore_volume(self, trash_id: str, name: str | None = None) -> Volume:
        """Move a volume out of the trash, under its old name or another.

        Raises:
            modules.errors.VolumeNotFound, modules.errors.VolumeExists
        """

    def empty_trash(self, *, older_than: timedelta, dry_run: bool = True) -> list[TrashedVolume]:
        """Destroy, unless *dry_run*, what has been in the trash for longer; return what that is.

        What a live volume is a clone of stays (on ZFS), and is not returned.
        """
