"""Volumes as datasets: create, find, resize, reach."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, TypeVar

from modules import fences
from modules.errors import AlreadyExists, Busy, NotFound, VolumeExists, VolumeNotFound
from modules.volumes import Volume
from zfsstore import layout
from zfsstore.layout import VolumeRecord
from zfsstore.volumes import common
from zfsstore.volumes.datasets import (
    OBJECT_RECORDSIZE,
    PROPERTIES,
    SMALLEST_QUOTA_BYTES,
    STATE_RECORDSIZE,
    UUID,
    Found,
    create_index_file,
    creation_properties,
    is_complete,
    not_mounted,
    require_mounted,
)
from zfsstore.volumes.zfs_lookup import Lookup
from zfsstore.zfs.client import ZfsClient
from zfsstore.zfs.names import split_volume_name

_T = TypeVar("_T")

_FIRST_PAUSE_S: Final = 0.05
_LONGEST_PAUSE_S: Final = 1.0


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

    def create_volume(self, name: str, size_bytes: int | None = None) -> Volume:
        """Create a volume, durable when this returns.

        *size_bytes* becomes ``quota``: of the dataset with all below it and its snapshots.
        """
        parts = split_volume_name(name)
        common.check_size(size_bytes, smallest_bytes=SMALLEST_QUOTA_BYTES)
        dataset = self._lookup.dataset(parts)
        uuid = common.new_uuid()
        with self._lookup.control("create volume", name):
            self._make_trash()
            try:
                self._zfs.create(dataset, creation_properties(uuid, parts[-1], size_bytes))
            except AlreadyExists as error:
                uuid = self._resume(dataset, name, size_bytes, error)
            except NotFound as error:
                raise no_tenant(name, "create volume") from error
            self._lookup.create_fence(name)
            self._complete(dataset, self._lookup.path(parts), uuid, parts[-1])
        return common.volume_dict(uuid=uuid, name=name, size_bytes=size_bytes)

    def list_volumes(self) -> list[Volume]:
        """Return every volume, sorted by name; one command for all."""
        return sorted((to_dict(found) for found in self._lookup.walk()), key=lambda v: v["name"])

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

    def _resume(self, dataset: str, name: str, size_bytes: int | None, error: AlreadyExists) -> str:
        """Return the uuid of a dataset that an interrupted call left, ready to be completed.

        Raises:
            VolumeExists: it is complete, or none of ours.
        """
        (present,) = self._zfs.get([dataset], PROPERTIES)
        uuid = present.own(UUID)
        path = self._lookup.path(split_volume_name(name))
        if uuid is not None and present.value("mounted") != "yes":
            if present.own("recordsize") == OBJECT_RECORDSIZE:
                raise not_mounted(dataset, path) from error  # complete, unmounted by somebody
            self._zfs.mount(dataset)
        if uuid is None or os.path.exists(f"{path}/{layout.VOLUME_FILE}"):
            raise VolumeExists(
                "it exists already" if uuid else f"the dataset {dataset} is in the way",
                operation="create volume",
                subject=name,
            ) from error
        quota = "none" if size_bytes is None else str(size_bytes)
        self._zfs.set(dataset, {"recordsize": STATE_RECORDSIZE, "quota": quota})
        return uuid

    def _complete(self, dataset: str, path: str, uuid: str, name: str) -> None:
        """Create what is inside the volume; volume.json last."""
        require_mounted(dataset, path)
        layout.create_layout(path, instance=self._instance)
        create_index_file(Path(path, layout.STATE))
        self._zfs.set(dataset, {"recordsize": OBJECT_RECORDSIZE})
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
