"""Volumes as ZFS datasets below a root dataset: ``ROOT/<tenant>`` and ``ROOT/<tenant>/<bucket>``.

A volume is a dataset with a ``zfsstore:uuid`` of its own (local or received: properties are
inherited, so a child without one would show its parent's). It is complete when its volume.json
is there; until then the next call of create_volume finishes what an interrupted one left.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from modules.errors import AlreadyExists, NotFound, VolumeExists, VolumeNotFound, translated_oserror
from modules.volumes import Volume
from zfsstore import layout
from zfsstore.layout import VolumeRecord
from zfsstore.volumes import common
from zfsstore.volumes.datasets import (
    NAME,
    OBJECT_RECORDSIZE,
    PROPERTIES,
    SMALLEST_QUOTA_BYTES,
    STATE_RECORDSIZE,
    TRASHED_AT,
    TRASHED_NAME,
    UUID,
    Found,
    create_index_file,
    creation_properties,
    found_volume,
    not_mounted,
    require_mounted,
)
from zfsstore.zfs.client import ZfsClient
from zfsstore.zfs.commands import Dataset, format_text_property, parse_text_property
from zfsstore.zfs.names import decode_component, encode_component, split_volume_name

_MAX_KNOWN: Final = 4096


class ZfsVolumes:
    """A VolumeBackend over the zfs program.

    Args:
        client: runs the commands.
        root_dataset: an existing, mounted dataset.
        root: its mountpoint, with the root volume's layout.
        instance: whose object directories to create.
    """

    def __init__(self, client: ZfsClient, root_dataset: str, root: str, instance: str) -> None:
        self._client = client
        self._root_dataset = root_dataset
        self._root = root
        self._instance = instance
        self._trash = f"{root_dataset}/{layout.TRASH}"
        self._has_trash = False
        self._known: dict[str, str] = {}  # uuid -> dataset, where to look first

    def capabilities(self) -> dict[str, bool]:
        """Return which tiers are offered: none beyond volumes."""
        return dict(common.CAPABILITIES)

    def create_volume(self, name: str, size_bytes: int | None = None) -> Volume:
        """Create a volume, durable when this returns.

        *size_bytes* becomes ``quota``: of the dataset with all below it and its snapshots.
        """
        parts = split_volume_name(name)
        common.check_size(size_bytes, smallest_bytes=SMALLEST_QUOTA_BYTES)
        dataset = self._dataset(parts)
        uuid = common.new_uuid()
        with self._control("create volume", name):
            self._make_trash()
            try:
                self._client.create(dataset, creation_properties(uuid, parts[-1], size_bytes))
            except AlreadyExists as error:
                uuid = self._resume(dataset, name, size_bytes, error)
            except NotFound as error:
                raise VolumeNotFound(
                    f"the tenant {parts[0]!r} does not exist",
                    operation="create volume",
                    subject=name,
                    hint="create the tenant first",
                ) from error
            self._complete(dataset, self._path(parts), uuid, parts[-1])
        return common.volume_dict(uuid=uuid, name=name, size_bytes=size_bytes)

    def list_volumes(self) -> list[Volume]:
        """Return every volume, sorted by name; one command for all."""
        return sorted((_volume(found) for found in self._walk()), key=lambda v: v["name"])

    def get_volume(self, uuid: str) -> Volume | None:
        """Return the volume, or None."""
        found = self._find(uuid)
        return None if found is None else _volume(found)

    def delete_volume(self, uuid: str) -> None:
        """Move the dataset, with its snapshots and a tenant's buckets, to ``ROOT/.trash``.

        What lies there is not mounted and does not count to the tenant's quota.

        Raises:
            VolumeNotFound: no such volume.
            Busy: a file in it is open, in this or another process.
        """
        with self._control("delete volume", uuid):
            found = self._need(uuid, "delete volume")
            self._make_trash()
            note = {
                TRASHED_NAME: format_text_property(found.name),
                TRASHED_AT: datetime.now(UTC).isoformat(),
            }
            self._client.set(found.dataset, note)
            self._client.rename(found.dataset, f"{self._trash}/{common.trash_name(found.uuid)}")
            with suppress(OSError):  # the empty directory that it was mounted on
                os.rmdir(found.path)

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
        with self._control("patch volume", uuid):
            found = self._need(uuid, "patch volume")
            if size_bytes is not None:
                self._client.set(found.dataset, {"quota": str(size_bytes)})
            return _volume(self._need(uuid, "patch volume"))

    def access_handle(self, uuid: str) -> dict[str, Any]:
        """Return ``{"kind": "directory", "path": ...}``."""
        return {"kind": "directory", "path": self._need(uuid, "access volume").path}

    def _resume(self, dataset: str, name: str, size_bytes: int | None, error: AlreadyExists) -> str:
        """Return the uuid of a dataset that an interrupted call left, ready to be completed.

        Raises:
            VolumeExists: it is complete, or none of ours.
        """
        (present,) = self._client.get([dataset], PROPERTIES)
        uuid = present.own(UUID)
        path = self._path(split_volume_name(name))
        if uuid is not None and present.value("mounted") != "yes":
            if present.own("recordsize") == OBJECT_RECORDSIZE:
                raise not_mounted(dataset, path) from error  # complete, unmounted by somebody
            self._client.mount(dataset)
        if uuid is None or os.path.exists(f"{path}/{layout.VOLUME_FILE}"):
            raise VolumeExists(
                "it exists already" if uuid else f"the dataset {dataset} is in the way",
                operation="create volume",
                subject=name,
            ) from error
        quota = "none" if size_bytes is None else str(size_bytes)
        self._client.set(dataset, {"recordsize": STATE_RECORDSIZE, "quota": quota})
        return uuid

    def _complete(self, dataset: str, path: str, uuid: str, name: str) -> None:
        """Create what is inside the volume; volume.json last."""
        require_mounted(dataset, path)
        layout.create_layout(path, instance=self._instance)
        create_index_file(Path(path, layout.STATE))
        self._client.set(dataset, {"recordsize": OBJECT_RECORDSIZE})
        layout.write_volume_file(path, VolumeRecord(layout.new_key_domain(), uuid, name))

    def _need(self, uuid: str, operation: str) -> Found:
        found = self._find(uuid)
        if found is None:
            raise common.no_such_volume(uuid, operation=operation)
        return found

    def _make_trash(self) -> None:
        """Create the trash in good time: in a full pool nothing can be created."""
        if not self._has_trash:
            options = {"canmount": "off", "mountpoint": "none"}
            self._client.create_if_absent(self._trash, options)
            self._has_trash = True

    def _find(self, uuid: str) -> Found | None:
        wanted = common.parse_uuid(uuid)
        if wanted is None:
            return None
        if (dataset := self._known.get(wanted)) is not None:
            with suppress(NotFound):  # renamed by somebody
                parents = [dataset.rpartition("/")[0], dataset]
                for found in self._volumes_of(self._client.get(parents, PROPERTIES)):
                    if found.uuid == wanted:
                        return found
        return next((found for found in self._walk() if found.uuid == wanted), None)

    def _walk(self) -> Iterator[Found]:
        yield from self._volumes_of(self._client.get([self._root_dataset], PROPERTIES, depth=2))

    def _volumes_of(self, datasets: Iterable[Dataset]) -> Iterator[Found]:
        """Yield what is a volume, given parents before children."""
        names = {self._root_dataset: ""}
        for present in datasets:
            uuid = present.own(UUID)
            parent, _slash, component = present.name.rpartition("/")
            if uuid is None or parent not in names or present.name == self._trash:
                continue
            own_name = decode_component(component, parse_text_property(present.own(NAME) or ""))
            name = "/".join(filter(None, (names[parent], own_name or component)))
            names[present.name] = name
            if len(self._known) >= _MAX_KNOWN:
                self._known.clear()
            self._known[uuid] = present.name
            yield found_volume(present, name, uuid, is_reachable=own_name is not None)

    def _dataset(self, parts: tuple[str, ...]) -> str:
        return "/".join((self._root_dataset, *map(encode_component, parts)))

    def _path(self, parts: tuple[str, ...]) -> str:
        return "/".join((self._root, *map(encode_component, parts)))

    @contextmanager
    def _control(self, operation: str, subject: str) -> Iterator[None]:
        with (
            translated_oserror(operation=operation, subject=subject),
            common.control_lock(self._root),
        ):
            yield


def _volume(found: Found) -> Volume:
    state = "online"
    if not found.is_mounted:
        state = "offline"
    elif not found.is_reachable or not os.path.exists(f"{found.path}/{layout.VOLUME_FILE}"):
        state = "restricted"  # by hand under a foreign name, or its creation was interrupted
    return common.volume_dict(
        uuid=found.uuid,
        name=found.name,
        size_bytes=found.quota_bytes,
        state=state,
        used_bytes=found.used_bytes,
    )
