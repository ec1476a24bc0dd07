"""Volumes as datasets: create, find, resize, reach."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, TypeVar

from modules import fences
from modules.errors import (
    AlreadyExists,
    Busy,
    InvalidArgument,
    NotFound,
    VolumeExists,
    VolumeNotFound,
)
from modules.volume_properties import EncryptionKey
from modules.volumes import Volume
from zfsstore import layout
from zfsstore.layout import VolumeRecord
from zfsstore.places import locked
from zfsstore.volumes import common
from zfsstore.volumes.datasets import (
    PROPERTIES,
    STATE_RECORDSIZE,
    UUID,
    Found,
    create_index_file,
    creation_properties,
    found_volume,
    is_complete,
    require_mounted,
    unusable,
)
from zfsstore.volumes.encryption_notes import note_encrypted, note_one_encrypted
from zfsstore.volumes.properties import SMALLEST_QUOTA_BYTES
from zfsstore.volumes.properties_creation import Wanted, plan_creation
from zfsstore.volumes.zfs_lookup import Lookup
from zfsstore.zfs.client import ZfsClient
from zfsstore.zfs.commands import Dataset
from zfsstore.zfs.errors import KeyNotLoaded
from zfsstore.zfs.names import split_volume_name

_T = TypeVar("_T")

_FIRST_PAUSE_S: Final = 0.05
_LONGEST_PAUSE_S: Final = 1.0
_LARGE_RECORD_BYTES: Final = 1024 * 1024
_LARGE_SINCE: Final = (2, 2, 0)


class VolumeCalls:
    """The first tier.

    Args:
        client: runs the commands.
        root_dataset: an existing, mounted dataset.
        root: its mountpoint, with the root volume's layout.
        instance: whose object directories to create.
    """

    patience_s: float = fences.PATIENCE_S
    """How long to wait, in seconds, until nobody uses a volume that has to move or change."""

    def __init__(self, client: ZfsClient, root_dataset: str, root: str, instance: str) -> None:
        self._zfs = client
        self._lookup = Lookup(client, root_dataset, root)
        self._instance = instance
        self._has_trash = False

    def create_volume(
        self,
        name: str,
        size_bytes: int | None = None,
        *,
        properties: Mapping[str, str] | None = None,
        encryption: EncryptionKey | None = None,
    ) -> Volume:
        """Create a volume, durable when this returns.

        Args:
            size_bytes: becomes ``quota``: of the dataset with all below it and its snapshots.
            properties: chosen ones (zfsstore.volumes.properties).
            encryption: of a tenant; its buckets inherit it.

        Raises:
            VolumeExists, VolumeNotFound, InvalidName, InvalidArgument
            KeyUnavailable: the key cannot be read.
            Locked: the tenant is encrypted and locked.
        """
        parts = split_volume_name(name)
        wanted = plan_creation(name, size_bytes, properties, encryption)
        dataset = self._lookup.dataset(parts)
        uuid = common.new_uuid()
        with self._lookup.control("create volume", name):
            self._make_trash()
            try:
                self._create_dataset(dataset, uuid, parts[-1], wanted)
            except AlreadyExists as error:
                uuid = self._resume(dataset, name, wanted, error)
            except NotFound as error:
                raise no_tenant(name, "create volume") from error
            except KeyNotLoaded as error:
                raise locked(parts[0], operation="create volume", subject=name) from error
            self._lookup.create_fence(name)
            self._complete(dataset, self._lookup.path(parts), uuid, parts[-1], wanted)
        return common.volume_dict(uuid=uuid, name=name, size_bytes=wanted.size_bytes)

    def list_volumes(self) -> list[Volume]:
        """Return every volume, sorted by name; one command for all."""
        volumes = self._lookup.walk()
        note_encrypted(self._lookup.root, volumes)
        return sorted((to_dict(found) for found in volumes), key=lambda v: v["name"])

    def get_volume(self, uuid: str) -> Volume | None:
        """Return the volume, or None."""
        found = self._lookup.find(uuid)
        return None if found is None else to_dict(found)

    def patch_volume(
        self,
        uuid: str,
        size_bytes: int | None = None,
        junction_path: str | None = None,
        export_policy: str | None = None,
    ) -> Volume:
        """Change the quota and return the volume. Not below what is used."""
        common.refuse_exports(junction_path, export_policy)
        common.check_size(size_bytes, smallest_bytes=SMALLEST_QUOTA_BYTES)
        with self._lookup.control("patch volume", uuid):
            found = self._lookup.need(uuid, "patch volume")
            if size_bytes is not None:
                self._zfs.set(found.dataset, {"quota": str(size_bytes)})
            return to_dict(self._lookup.need(uuid, "patch volume"))

    def access_handle(self, uuid: str) -> dict[str, Any]:
        """Return ``{"kind": "directory", "path": ...}``."""
        return {"kind": "directory", "path": self._lookup.need(uuid, "access volume").path}

    def _create_dataset(self, dataset: str, uuid: str, name: str, wanted: Wanted) -> None:
        if int(wanted.recordsize) > _LARGE_RECORD_BYTES and self._zfs.version() < _LARGE_SINCE:
            raise InvalidArgument(
                f"this version of ZFS knows no records of more than {_LARGE_RECORD_BYTES} bytes",
                field="recordsize",
            )
        options = creation_properties(uuid, name, wanted.size_bytes, wanted.properties)
        if wanted.key is None:
            self._zfs.create(dataset, options)
            return
        self._zfs.create_encrypted(dataset, {**options, **wanted.encryption}, wanted.key)

    def _resume(self, dataset: str, name: str, wanted: Wanted, error: AlreadyExists) -> str:
        """Return the uuid of a dataset that an interrupted call left, ready to be completed.

        Raises:
            VolumeExists: it is complete, or none of ours, or not encrypted as wanted.
            Locked: it is encrypted, and no key was given.
        """
        (present,) = self._zfs.get([dataset], PROPERTIES)
        uuid = present.own(UUID)
        path = self._lookup.path(split_volume_name(name))
        if uuid is not None and present.value("mounted") != "yes":
            if present.own("recordsize") != STATE_RECORDSIZE:
                found = found_volume(present, name, uuid, is_reachable=True, origin=None)
                raise unusable(found, operation="create volume") from error  # complete
            self._remount(present, name, wanted)
        if uuid is None or os.path.exists(f"{path}/{layout.VOLUME_FILE}"):
            raise VolumeExists(
                "it exists already" if uuid else f"the dataset {dataset} is in the way",
                operation="create volume",
                subject=name,
            ) from error
        if wanted.key is not None and present.value("encryptionroot") != dataset:
            raise VolumeExists(
                "an interrupted call left one without encryption",
                operation="create volume",
                subject=name,
                hint=f"destroy it (`zfs destroy {dataset}`) and try again",
            ) from error
        quota = "none" if wanted.size_bytes is None else str(wanted.size_bytes)
        options = {"recordsize": STATE_RECORDSIZE, "quota": quota, **wanted.properties}
        self._zfs.set(dataset, options)
        return uuid

    def _remount(self, present: Dataset, name: str, wanted: Wanted) -> None:
        """Mount what an interrupted call left, unlocked by the key that was given."""
        if wanted.key is not None and present.value("encryptionroot") == present.name:
            self._zfs.load_key(present.name, wanted.key)
        try:
            self._zfs.mount(present.name)
        except KeyNotLoaded as error:
            tenant = name.partition("/")[0]
            raise locked(tenant, operation="create volume", subject=name) from error

    def _complete(self, dataset: str, path: str, uuid: str, name: str, wanted: Wanted) -> None:
        """Create what is inside the volume; volume.json last."""
        require_mounted(dataset, path)
        layout.create_layout(path, instance=self._instance)
        create_index_file(Path(path, layout.STATE))
        self._zfs.set(dataset, {"recordsize": wanted.recordsize})
        if wanted.key is not None:
            note_one_encrypted(self._lookup.root, name)
        layout.write_volume_file(path, VolumeRecord(layout.new_key_domain(), uuid, name))

    def _make_trash(self) -> None:
        """Create the trash in good time: in a full pool nothing can be created."""
        if not self._has_trash:
            options = {"canmount": "off", "mountpoint": "none"}
            self._zfs.create_if_absent(self._lookup.trash, options)
            self._has_trash = True

    def _until_free(self, call: Callable[[], _T]) -> _T:
        """Return what *call* returns, called again while a file of the volume is open.

        Downloads hold no fence; but nobody begins one while the fence is taken.

        Raises:
            Busy: it still is after :attr:`patience_s`.
        """
        deadline = time.monotonic() + self.patience_s
        pause = _FIRST_PAUSE_S
        while True:
            try:
                return call()
            except Busy:
                if time.monotonic() + pause > deadline:
                    raise
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_S)


def to_dict(found: Found) -> Volume:
    """Return the volume in the shape of the contract."""
    state = "online"
    if not found.is_mounted:
        state = "offline"
    elif not found.is_reachable or not is_complete(found):
        state = "restricted"  # by hand under a foreign name, or its creation was interrupted
    return common.volume_dict(
        uuid=found.uuid,
        name=found.name,
        size_bytes=found.quota_bytes,
        state=state,
        used_bytes=found.used_bytes,
        is_read_only=found.is_read_only,
        clone=found.origin,
    )


def no_tenant(name: str, operation: str) -> VolumeNotFound:
    """Return the error for a bucket whose tenant does not exist."""
    return VolumeNotFound(
        f"the tenant {name.partition('/')[0]!r} does not exist",
        operation=operation,
        subject=name,
        hint="create the tenant first",
    )


def leave(path: str) -> None:
    """Remove the empty directory that a dataset was mounted on."""
    with suppress(OSError):
        os.rmdir(path)
