"""What a module with volumes offers, in tiers: volumes, snapshots, clones, replication.

A backend that cannot clone is not a CloneBackend: nothing is emulated. Names, dict shapes and
semantics follow the nessie-store Python bindings 0.3.1, so that its conformance suite runs
against ours; ``get_volume`` and ``get_snapshot`` return None for what is absent.
"""

from __future__ import annotations

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
    """A VolumeBackend whose volumes can be frozen and read as they were."""

    def create_snapshot(self, volume_uuid: str, name: str) -> Snapshot: ...

    def list_snapshots(self, volume_uuid: str) -> list[Snapshot]: ...

    def get_snapshot(self, volume_uuid: str, snapshot_uuid: str) -> Snapshot | None: ...

    def delete_snapshot(self, volume_uuid: str, snapshot_uuid: str) -> None: ...


@runtime_checkable
class CloneBackend(SnapshotBackend, Protocol):
    """A SnapshotBackend whose snapshots can become writable volumes."""

    def create_clone(
        self, parent_volume_uuid: str, parent_snapshot_uuid: str, new_name: str
    ) -> Volume: ...


@runtime_checkable
class ReplicationBackend(CloneBackend, Protocol):
    """A CloneBackend whose snapshots can be sent to, and received from, another backend."""

    def send_stream(self, volume: str, snapshot: str, base: str | None = None) -> Any: ...

    def receive_stream(self, destination: str, stream: Any) -> int: ...
