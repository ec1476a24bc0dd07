"""The reference's value types, for code that has them in place of dicts: ``Volume(**volume)``.

Source: nessie_backend_core 0.3.1.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Capabilities:
    """Which tiers a backend offers: ``Capabilities(**backend.capabilities())``."""

    snapshots: bool = False
    clones: bool = False
    replication: bool = False

    def is_consistent(self) -> bool:
        """Return whether what is offered includes what it is built on."""
        return self.snapshots or not (self.clones or self.replication)


@dataclass(frozen=True, slots=True)
class CloneOrigin:
    """What a clone was made from, by name."""

    parent_volume: str
    parent_snapshot: str


@dataclass(frozen=True, slots=True)
class Volume:
    """A volume: ``Volume(**backend.get_volume(uuid))``."""

    uuid: str
    name: str
    size_bytes: int | None
    state: str
    style: str
    vol_type: str
    clone: CloneOrigin | None = None

    def __post_init__(self) -> None:
        if isinstance(self.clone, dict):
            object.__setattr__(self, "clone", CloneOrigin(**self.clone))

    def is_clone(self) -> bool:
        """Return whether it was made from a snapshot."""
        return self.clone is not None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A snapshot: ``Snapshot(**backend.get_snapshot(...))``."""

    uuid: str
    name: str
    size_consumed: int
    create_time: str | None = None


@dataclass(frozen=True, slots=True)
class VolumeSpec:
    """The arguments of ``create_volume``."""

    name: str
    size_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class VolumePatch:
    """The arguments of ``patch_volume`` after the uuid."""

    size_bytes: int | None = None
    junction_path: str | None = None
    export_policy: str | None = None

    def is_empty(self) -> bool:
        """Return whether nothing is to be changed."""
        return self == VolumePatch()
