"""ZFSStorage: objects as plain files, in one ZFS dataset or directory per tenant and bucket."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from modules import StorageModule, fences
from modules.context import Context, content_length
from modules.errors import (
    InvalidModuleData,
    ObjectNotFound,
    StorageError,
    VolumeNotFound,
    from_oserror,
    translated_oserror,
)
from modules.extensions import Piece, SweepReport, VolumeIdentity
from modules.state import create_ballast, release_ballast
from modules.streams import SupportsRead
from modules.volumes import VolumeBackend
from zfsstore import layout, objectfile
from zfsstore.adopting import Adopter
from zfsstore.changing import counters_of, no_snapshots, require_writable
from zfsstore.copying import Copier
from zfsstore.objectfile import ObjectFile
from zfsstore.opening import check_arguments, choose_runner, create_root_volume
from zfsstore.places import Place, Places
from zfsstore.published import PublishedViews
from zfsstore.room import HEADROOM_BYTES, Intake, Room, capacity
from zfsstore.sweep import sweep_volume
from zfsstore.volumes.datasets import find_root
from zfsstore.volumes.delete_fence import SWEEP_PATIENCE_S
from zfsstore.volumes.directory import DirectoryVolumes
from zfsstore.volumes.usage import Reservation, UsageCounter, release
from zfsstore.volumes.zfs import ZfsVolumes
from zfsstore.zfs.client import ZfsClient
from zfsstore.zfs.names import check_dataset_name
from zfsstore.zfs.runner import Runner

_CAPABILITIES: Final = {
    "cdmi_read_value": "true",
    "cdmi_read_value_range": "true",
    "cdmi_delete_dataobject": "true",
}
_SNAPSHOT_CAPABILITIES: Final = {"cdmi_snapshots": "true", "cdmi_snapshot": "true"}


class ZFSStorage(StorageModule):
    """Keeps each tenant and each bucket in a volume of its own.

    Exactly one of *dataset* and *directory* is given. A context without a tenant uses the root
    itself. Volumes are created through :attr:`volumes`; a put never creates one. Puts and gets
    start no process.

    Args:
        dataset: an existing, mounted ZFS dataset, as in "tank/objects".
        directory: a directory on any file system, created when absent.
        instance: which object directory inside each volume is ours, so that several
            configured modules can share volumes.
        headroom_bytes: kept free in every volume, so that a full one can still be emptied.
        agent: the socket of zfsstore-agent, which runs zfs for a host that is not root.
        runner: how to run zfs commands, in place of an agent; on this machine when None.
    """

    def __init__(
        self,
        *,
        dataset: str | None = None,
        directory: str | None = None,
        instance: str = "main",
        headroom_bytes: int = HEADROOM_BYTES,
        agent: str | None = None,
        runner: Runner | None = None,
    ) -> None:
        check_arguments(dataset, directory, instance, headroom_bytes)
        chosen = choose_runner(dataset, agent, runner)
        self._instance = instance
        self._pattern = layout.module_data_pattern(instance)
        self._volumes: VolumeBackend
        if dataset is not None:
            client = ZfsClient(chosen)
            root = find_root(client, check_dataset_name(dataset))
            self._volumes = ZfsVolumes(client, dataset, root, instance)
        else:
            root = os.path.abspath(str(directory))
            self._volumes = DirectoryVolumes(root, instance)
        create_root_volume(root, instance)
        self._places = Places(root, instance, are_datasets=dataset is not None)
        self._room = Room(root, headroom_bytes, are_datasets=dataset is not None)
        self._copier = Copier(
            *(self._places, self._room, instance, self._path, self._checked, self._create_file)
        )
        self._adopter = Adopter(self._room, instance, self._checked, self._create_file)
        self._views = PublishedViews(self._places, self._room, self._path)

    @property
    def volumes(self) -> VolumeBackend:
        """The backend that creates, lists and removes tenants' and buckets' volumes."""
        return self._volumes

    def available(self, context: Context, module_data: str) -> bool:
        """Return True when the object is there and readable."""
        try:
            path = self._path(self._places.find_readable(context), module_data)
        except InvalidModuleData:
            return False
        return os.path.isfile(path) and os.access(path, os.R_OK)

    def put(self, context: Context, stream: SupportsRead) -> str:
        """Store *stream*; returns after fsync of the file and of its directory."""
        place = self._places.find(context)
        counters = self._checked(place)
        expected_bytes = content_length(context)
        object_id = secrets.token_hex(16)
        with fences.hold(place.fence), Reservation(counters) as reservation:
            intake = Intake(place, self._room, reservation, expected_bytes)
            objectfile.store(
                self._create_file(place, object_id),
                f"{place.objects}/{object_id[:2]}",
                object_id,
                stream,
                subject=place.label,
                expected_bytes=expected_bytes,
                before_block=intake.before_block,
            )
        return layout.format_module_data(self._instance, object_id)

    def get_read_stream(self, context: Context, module_data: str) -> ObjectFile:
        """Return the object's file, opened; ``fileno()`` is real."""
        place = self._places.find_readable(context)
        path = self._path(place, module_data)
        try:
            return ObjectFile(path, module_data)
        except FileNotFoundError as error:
            self._places.check(place)
            raise ObjectNotFound(
                "it does not exist", operation="read object", subject=module_data
            ) from error
        except OSError as error:
            raise from_oserror(error, operation="read object", subject=module_data) from error

    def copy(self, source_context: Context, module_data: str, context: Context) -> str:
        """Store a copy, sharing blocks or the file where the file system can; see copying."""
        source = self._places.find_readable(source_context)
        return self._copier.join(self._places.find(context), source, [module_data])

    def compose(self, context: Context, parts: Iterable[str]) -> str:
        """Store one object made of *parts* in order, sharing their blocks where possible."""
        place = self._places.find(context)
        return self._copier.join(place, place, list(parts))

    def adopt(self, context: Context, fd: int, *, link: bool = False) -> str:
        """Store a file of this machine, sharing its blocks where possible, or itself; durable."""
        return self._adopter.adopt(self._places.find(context), fd, link=link)

    def publish(self, context: Context, key: str, module_data: str | None) -> None:
        """Show an object as a file of the bucket's view, or take it away; see published."""
        self._views.publish(context, key, module_data)

    def publish_pieces(self, context: Context, key: str, pieces: Sequence[Piece]) -> None:
        """Show an object that is made of pieces as one file."""
        self._views.publish_pieces(context, key, pieces)

    def sync_published(self, context: Context, keys: Iterable[str]) -> None:
        """Make durable what was shown or taken away under these keys."""
        self._views.sync_published(context, keys)

    def unpublish(self, context: Context) -> None:
        """Remove the bucket's view."""
        self._views.unpublish(context)

    def delete(self, context: Context, module_data: str) -> None:
        """Remove the object's file. Works in a full volume.

        Raises:
            Busy: on directories, while a snapshot of the volume is being made.
        """
        place = self._places.find(context)
        path = self._path(place, module_data)
        try:
            counters = self._checked(place)
            with fences.hold(place.fence), no_snapshots(self._places, place):
                size_bytes = os.stat(path).st_size if counters else 0
                self._unlink(place, path)
        except FileNotFoundError:
            with suppress(VolumeNotFound):
                self._places.check(place)  # not mounted is not gone
            return
        except VolumeNotFound:
            return
        except OSError as error:
            raise from_oserror(error, operation="delete object", subject=module_data) from error
        release(counters, size_bytes)

    def statistics(self, context: Context) -> dict[str, Any]:
        """Return the capacity of the context's volume, and which volume that is."""
        place = self._places.find_readable(context)
        record = self._places.check(place)
        with translated_oserror(operation="get statistics of", subject=place.label):
            free, total = capacity(place.path)
            for counter in counters_of(self._places, place):
                total = min(total, counter.limit_bytes)
                free = min(free, max(0, counter.limit_bytes - counter.used_bytes()))
        return {
            "capacity": {"total": total, "free": free, "used": total - free},
            "volume": {
                "uuid": record.uuid,
                "name": place.name,
                "headroom_bytes": self._room.headroom_bytes(total),
            },
        }

    def capabilities(self, context: Context) -> Mapping[str, Any]:
        """Return what plain files offer, and snapshots where the volumes have them."""
        has_snapshots = self._volumes.capabilities()["snapshots"]
        return {**_CAPABILITIES, **(_SNAPSHOT_CAPABILITIES if has_snapshots else {})}

    def state_dir(self, context: Context) -> Path:
        """Return the directory for databases of the context's volume, or of its snapshot."""
        place = self._places.find_readable(context)
        self._places.check(place)
        return place.state

    def identity(self, context: Context) -> VolumeIdentity:
        """Return which volume the context's is, also for a snapshot of it."""
        record = self._places.check(self._places.live(context))
        return VolumeIdentity(record.uuid, record.key_domain, record.is_read_only is True)

    def fence(self, context: Context) -> Path:
        """Return the fence of the context's volume."""
        return self._places.find_readable(context).fence

    def sweep(
        self, context: Context, live: Iterable[str], *, older_than: timedelta, dry_run: bool = True
    ) -> SweepReport:
        """Find what is not *live* among this instance's files; quarantine it unless *dry_run*.

        A real run also counts quotas again and renews the ballast that a full volume used up.
        """
        place = self._places.find(context)
        counters = () if dry_run else self._checked(place)
        self._places.check(place)
        with (
            fences.hold(place.fence),
            translated_oserror(operation="sweep volume", subject=place.label),
        ):
            report = sweep_volume(
                place,
                self._instance,
                live,
                older_than=older_than,
                dry_run=dry_run,
                moving=lambda: no_snapshots(self._places, place, SWEEP_PATIENCE_S),
            )
            if not dry_run:
                for counter in counters:
                    counter.recount()
                with suppress(StorageError):
                    self._room.require(place, 0)
                    create_ballast(place.state)
        return report

    def _path(self, place: Place, module_data: str) -> str:
        object_id = layout.parse_module_data(self._pattern, module_data)
        return f"{place.objects}/{object_id[:2]}/{object_id}"

    def _checked(self, place: Place) -> tuple[UsageCounter, ...]:
        return require_writable(self._places, place)

    def _create_file(self, place: Place, object_id: str) -> int:
        """Return a descriptor of the new file; the first put of an instance makes its leaves."""
        leaf = f"{place.objects}/{object_id[:2]}"
        with translated_oserror(
            operation="put object into", subject=place.label, not_found=VolumeNotFound
        ):
            try:
                return objectfile.create(leaf, object_id)
            except FileNotFoundError:
                self._places.check(place)  # not mounted is not gone
                layout.create_leaves(place.path, self._instance)
                return objectfile.create(leaf, object_id)

    def _unlink(self, place: Place, path: str) -> None:
        try:
            objectfile.remove(path)
        except OSError as error:
            is_full = error.errno in (errno.EDQUOT, errno.ENOSPC)
            if not is_full or not release_ballast(place.state):
                raise
            objectfile.remove(path)
