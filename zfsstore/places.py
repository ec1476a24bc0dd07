"""From a call's context to the directory of a volume that is proven to be there."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from modules.context import Context, text
from modules.errors import (
    InvalidArgument,
    Locked,
    SnapshotNotFound,
    StorageError,
    Unavailable,
    VolumeNotFound,
    from_oserror,
)
from zfsstore import layout
from zfsstore.layout import VolumeRecord
from zfsstore.zfs.names import check_short_name, encode_component, split_volume_name

_MAX_CACHED: Final = 4096
_LOOKS: Final = 5
_LOOK_AGAIN_S: Final = 0.05


@dataclass(frozen=True, slots=True)
class Place:
    """Where a volume must be; that it is there is for :meth:`Places.check` to say.

    Attributes:
        name: "acme" or "acme/photos"; "" for the root volume.
        path: its directory; of a snapshot the directory that shows it.
        objects: its object directory of this instance, ``.../objects/<instance>``.
        state: the directory for databases and ballast.
        fence: its fence (modules.fences).
        snapshot: the name of the snapshot, None for the live volume.
    """

    name: str
    path: str
    objects: str
    state: Path
    fence: Path
    snapshot: str | None = None

    @property
    def label(self) -> str:
        """The name for messages."""
        name = self.name or "the root volume"
        return name if self.snapshot is None else f"{name}@{self.snapshot}"


class Places:
    """Finds volumes below a root by path alone: no process is started, no descriptor kept.

    A volume is there when its volume.json is. On ZFS a child dataset that is not mounted leaves
    an empty directory in its parent: that must never be written to, so the directory of every
    volume below the root must also be a file system of its own.

    Args:
        root: the mountpoint of the root dataset, or the root directory.
        are_datasets: True on ZFS.
    """

    def __init__(self, root: str, instance: str, *, are_datasets: bool) -> None:
        self.root = root
        self.are_datasets = are_datasets
        self._instance = instance
        self._places: dict[str | None, Place] = {}
        self._records: dict[str, tuple[tuple[int, int, int], VolumeRecord]] = {}
        self._root_place = self._places[None] = self._make_place("")

    def find(self, context: Context) -> Place:
        """Return the live place for the context's tenant and bucket, without any I/O.

        Raises:
            InvalidName: a malformed tenant or bucket.
            InvalidArgument: the context asks for a snapshot: nothing can be changed there.
        """
        if context.get("snapshot") is not None:
            raise InvalidArgument(
                "a snapshot cannot be changed",
                field="context.snapshot",
                operation="change snapshot",
                subject=str(context["snapshot"])[:80],
                hint="clone it, and change the clone",
            )
        return self.live(context)

    def find_readable(self, context: Context) -> Place:
        """Return the place to read from: live, or the context's snapshot; without any I/O.

        Raises:
            InvalidName: a malformed tenant, bucket or snapshot.
        """
        if context.get("snapshot") is None:
            return self.live(context)
        place = self.live(context)
        snapshot = str(text(context, "snapshot"))
        check_short_name(snapshot, field="context.snapshot")
        path = layout.snapshot_path(place.path, snapshot, is_dataset=self.are_datasets)
        return self._place_at(path, place.name, snapshot)

    def live(self, context: Context) -> Place:
        """Return the live place for the context, also when it asks for a snapshot."""
        try:
            return self._places[context.get("tenant")]
        except (KeyError, TypeError):  # not yet known, or no text
            tenant = text(context, "tenant")
            return self._root_place if tenant is None else self.named(tenant)

    def named(self, name: str) -> Place:
        """Return the place of the volume called *name*.

        Raises:
            InvalidName: a malformed tenant or bucket.
        """
        split_volume_name(name)  # the root volume has no name
        place = self._make_place(name)
        if len(self._places) >= _MAX_CACHED:
            self._places.clear()
        self._places[name] = place
        return place

    def chain(self, place: Place) -> tuple[Place, ...]:
        """Return the place and, for a bucket, its tenant's: all that a quota may be set on."""
        tenant, separator, _bucket = place.name.partition("/")
        return (place, self.find({"tenant": tenant})) if separator else (place,)

    def check(self, place: Place) -> VolumeRecord:
        """Return the volume's record, having made sure that it is there. One system call.

        Raises:
            VolumeNotFound, SnapshotNotFound: no such volume, or snapshot of it.
            Unavailable: it exists but is not mounted.
        """
        if place.snapshot is not None:
            return self._check_snapshot(place)
        try:
            stat = os.stat(f"{place.path}/{layout.VOLUME_FILE}")
        except OSError as error:
            raise self.missing(place, error) from error
        identity = (stat.st_dev, stat.st_ino, stat.st_mtime_ns)
        cached = self._records.get(place.name)
        if cached is not None and cached[0] == identity:
            return cached[1]
        record = self._prove(place)
        if len(self._records) >= _MAX_CACHED:
            self._records.clear()
        self._records[place.name] = (identity, record)
        return record

    def missing(self, place: Place, error: OSError) -> StorageError:
        """Return the error for a volume whose volume.json could not be reached."""
        if not isinstance(error, FileNotFoundError | NotADirectoryError):
            return from_oserror(error, operation="open volume", subject=place.label)
        for outer in (self._root_place, *reversed(self.chain(place)[1:])):
            if outer.name != place.name and not _has_volume_file(outer.path):
                return self._absent(outer)
        return self._absent(place)

    def _absent(self, place: Place) -> StorageError:
        is_tenant = place.name and "/" not in place.name
        if is_tenant and layout.encrypted_path(self.root, place.name).exists():
            return locked(place.name, operation="open volume", subject=place.label)
        return _not_mounted(place) if _is_there(place) else _no_such_volume(place)

    def _prove(self, place: Place) -> VolumeRecord:
        try:
            record = layout.read_volume_file(place.path, subject=place.label)
            if self.are_datasets and place.name:
                parent = os.path.dirname(place.path)
                if os.stat(place.path).st_dev == os.stat(parent).st_dev:
                    raise _not_mounted(place)
        except OSError as error:
            raise self.missing(place, error) from error
        return record

    def _check_snapshot(self, place: Place) -> VolumeRecord:
        """Return the record in a snapshot.

        In a mount namespace of its own (systemd, containers) the first look into a snapshot
        shows an empty directory, until the kernel has mounted it: measured on OpenZFS 2.3.
        """
        for _ in range(_LOOKS):
            try:
                return layout.read_volume_file(place.path, subject=place.label)
            except (FileNotFoundError, NotADirectoryError):
                if not _is_listed(place):
                    break
                time.sleep(_LOOK_AGAIN_S)
            except OSError as error:
                raise from_oserror(error, operation="open snapshot", subject=place.label) from error
        self.check(self.live({"tenant": place.name or None}))  # or is the volume not there?
        if _is_listed(place):
            raise Unavailable(
                "the snapshot is there, but what it holds is not visible",
                operation="open snapshot",
                subject=place.label,
                hint="can the host's user and mount namespace see .zfs/snapshot?",
            )
        raise SnapshotNotFound(
            "it does not exist",
            operation="open snapshot",
            subject=place.label,
            hint="list the volume's snapshots",
        )

    def _make_place(self, name: str) -> Place:
        parts = split_volume_name(name) if name else ()
        return self._place_at("/".join((self.root, *map(encode_component, parts))), name, None)

    def _place_at(self, path: str, name: str, snapshot: str | None) -> Place:
        objects = f"{path}/{layout.OBJECTS}/{self._instance}"
        fence = layout.fence_path(self.root, name)
        return Place(name, path, objects, Path(path, layout.STATE), fence, snapshot)


def _is_listed(place: Place) -> bool:
    """Return whether the snapshot exists.

    One that was read and then destroyed still looks like an empty directory (OpenZFS 2.3, its
    name stays in the kernel's cache), but it is not listed any more.
    """
    above, name = os.path.split(place.path)
    with suppress(OSError):
        return name in os.listdir(above)
    return False


def _has_volume_file(path: str) -> bool:
    return os.path.exists(f"{path}/{layout.VOLUME_FILE}")


def _is_there(place: Place) -> bool:
    return not place.name or os.path.isdir(place.path)


def _not_mounted(place: Place) -> Unavailable:
    return Unavailable(
        f"no mounted, complete volume is at {place.path}",
        operation="open volume",
        subject=place.label,
        hint="mount it (`zfs mount`), or create the volume again to complete an interrupted call",
    )


def locked(tenant: str, *, operation: str, subject: str) -> Locked:
    """Return the error for the use of an encrypted tenant, or its bucket, without its key."""
    return Locked(
        "the tenant is encrypted and locked",
        operation=operation,
        subject=subject,
        hint=f"unlock it: `zfsstore volume unlock {tenant}`",
    )


def _no_such_volume(place: Place) -> VolumeNotFound:
    return VolumeNotFound(
        "it does not exist",
        operation="open volume",
        subject=place.label,
        hint="zfsstore volume list shows what there is",
    )
