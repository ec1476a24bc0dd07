"""What must hold before a volume is changed, and whose quotas count."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

from modules.errors import PermissionDenied
from zfsstore.places import Place, Places
from zfsstore.volumes import delete_fence
from zfsstore.volumes.usage import UsageCounter


def require_writable(places: Places, place: Place) -> tuple[UsageCounter, ...]:
    """Make sure that the volume can be changed; return the counters of quotas kept by us.

    Raises:
        VolumeNotFound, Unavailable: it is not there.
        PermissionDenied: it is a read-only replica.
    """
    if places.check(place).is_read_only:
        raise PermissionDenied(
            "it is a read-only replica",
            operation="change volume",
            subject=place.label,
            hint="break it off from what it is a replica of first",
        )
    return counters_of(places, place)


def counters_of(places: Places, place: Place) -> tuple[UsageCounter, ...]:
    """Return the counters of the volume's quota and its tenant's, as far as they have one.

    None on ZFS, which keeps them itself.
    """
    if places.are_datasets:
        return ()
    return tuple(
        UsageCounter(level.path, record.size_bytes, subject=level.label)
        for level in places.chain(place)
        if (record := places.check(level)).size_bytes is not None
    )


def no_snapshots(
    places: Places, place: Place, patience_s: float = delete_fence.DELETE_PATIENCE_S
) -> AbstractContextManager[object]:
    """Hold off snapshots of a directory while something is deleted; those of ZFS take no time.

    Raises:
        Busy: one is being made, and was not finished within *patience_s*.
    """
    if places.are_datasets:
        return nullcontext()
    return delete_fence.hold(place.fence, patience_s=patience_s)
