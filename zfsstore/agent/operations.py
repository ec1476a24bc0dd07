"""What the agent can be asked for: one class for each operation, and the argv it stands for.

``argv()`` gives the one spelling, that of :mod:`zfsstore.zfs`. The agent parses what it is sent
and refuses whatever differs from the argv of what it understood.
"""

from __future__ import annotations

from zfsstore.agent.dataset_operations import (
    Create,
    Destroy,
    GetProperties,
    Inherit,
    ListNames,
    LoadKey,
    Mount,
    PoolState,
    PoolUsage,
    Rename,
    SetProperties,
    UnloadKey,
    Unmount,
    Version,
)
from zfsstore.agent.snapshot_operations import (
    AbortReceive,
    Bookmark,
    Clone,
    Hold,
    ListHolds,
    Promote,
    Receive,
    Release,
    RenameSnapshot,
    ResumeSend,
    Rollback,
    Send,
    Snapshot,
)

Operation = (
    Version
    | PoolUsage
    | PoolState
    | ListNames
    | GetProperties
    | Create
    | Destroy
    | SetProperties
    | Inherit
    | Rename
    | RenameSnapshot
    | Snapshot
    | Clone
    | Promote
    | Rollback
    | Hold
    | Release
    | ListHolds
    | Bookmark
    | Mount
    | Unmount
    | LoadKey
    | UnloadKey
    | Send
    | ResumeSend
    | Receive
    | AbortReceive
)

Reading = Version | PoolUsage | PoolState | ListNames | GetProperties | ListHolds
"""What changes nothing."""

Placing = Create | Clone | Receive | Rename | Promote | Mount | Unmount | AbortReceive
"""What makes, moves or mounts file systems."""

__all__ = [
    "AbortReceive",
    "Bookmark",
    "Clone",
    "Create",
    "Destroy",
    "GetProperties",
    "Hold",
    "Inherit",
    "ListHolds",
    "ListNames",
    "LoadKey",
    "Mount",
    "Operation",
    "Placing",
    "PoolState",
    "PoolUsage",
    "Promote",
    "Reading",
    "Receive",
    "Release",
    "Rename",
    "RenameSnapshot",
    "ResumeSend",
    "Rollback",
    "Send",
    "SetProperties",
    "Snapshot",
    "UnloadKey",
    "Unmount",
    "Version",
]
