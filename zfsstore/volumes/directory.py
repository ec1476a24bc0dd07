"""Volumes as plain directories: the embedded default, for machines without ZFS."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from modules.durable import fsync_directory
from modules.errors import InvalidArgument, translated_oserror
from modules.volume_properties import EncryptionKey
from modules.volumes import Volume
from zfsstore import layout
from zfsstore.layout import VolumeRecord
from zfsstore.volumes import common
from zfsstore.volumes.directory_base import Found
from zfsstore.volumes.directory_journal import Move
from zfsstore.volumes.directory_moves import MoveCalls
from zfsstore.volumes.directory_replication import ReplicationCalls
from zfsstore.volumes.properties_directory import chosen_quota, planned_size, without_quota
from zfsstore.volumes.usage import UsageCounter
from zfsstore.zfs.names import split_volume_name


class DirectoryVolumes(ReplicationCalls, MoveCalls):
    """Each tenant a directory of *root*, each bucket one of its tenant's; all tiers.

    A volume is built aside and renamed into place, so it is there wholly or not at all. A change
    of several names is written down first (directory_journal). One control operation runs at a
    time, in all processes together; puts and gets go on.

    Args:
        root: an existing directory with the root volume's layout.
        instance: whose object directories to create.
    """

    def capabilities(self) -> dict[str, bool]:
        """Return which tiers are offered: all."""
        return {"snapshots": True, "clones": True, "replication": True}

    def create_volume(
        self,
        name: str,
        size_bytes: int | None = None,
        *,
        properties: Mapping[str, str] | None = None,
        encryption: EncryptionKey | None = None,
    ) -> Volume:
        """Create a volume, durable when this returns.

        *size_bytes* limits the sum of its objects' sizes, a tenant's with all its buckets'.
        Snapshots do not count: their objects are links, as long as the originals are there. Of
        the properties a directory has the quota only, and it cannot be encrypted (NotSupported).
        """
        parts = split_volume_name(name)
        size_bytes = planned_size(size_bytes, properties, encryption)
        record = VolumeRecord(layout.new_key_domain(), common.new_uuid(), parts[-1], size_bytes)
        with self._control("create volume", name), self._journal.aside() as work:
            path = self._require_free(name, "create volume")
            self._make_fences(name)
            aside = f"{work}/volume"
            os.mkdir(aside)
            layout.create_layout(aside, instance=self._instance)
            layout.write_volume_file(aside, record)
            fsync_directory(aside)
            self._journal.commit([Move(aside, path)])
        return common.volume_dict(uuid=record.uuid, name=name, size_bytes=size_bytes, used_bytes=0)

    def list_volumes(self) -> list[Volume]:
        """Return every volume, sorted by name."""
        with translated_oserror(operation="list volumes of", subject=self._root):
            found = self._settled(lambda: self._volumes_of(list(self._walk())))
        return sorted(found, key=lambda volume: volume["name"])

    def get_volume(self, uuid: str) -> Volume | None:
        """Return the volume, or None."""
        with translated_oserror(operation="get volume", subject=uuid):
            return self._settled(lambda: self._get(uuid))

    def patch_volume(
        self,
        uuid: str,
        size_bytes: int | None = None,
        junction_path: str | None = None,
        export_policy: str | None = None,
    ) -> Volume:
        """Change the quota and return the volume. Not below what is stored."""
        common.refuse_exports(junction_path, export_policy)
        common.check_size(size_bytes)
        with self._control("patch volume", uuid):
            found = self._need(uuid, "patch volume")
            if size_bytes is not None:
                found = self._resize(found, size_bytes)
            return self._volume(found)

    def get_properties(self, uuid: str) -> dict[str, str]:
        """Return the quota and, of a volume that has one, what is used of it; in bytes."""
        with translated_oserror(operation="get properties of volume", subject=uuid):
            volume = self._settled(lambda: self._volume(self._need(uuid, "get properties")))
        found = {"quota": str(volume["size_bytes"] or "none")}
        return found | ({"used": str(volume["used_bytes"])} if "used_bytes" in volume else {})

    def set_properties(self, uuid: str, properties: Mapping[str, str]) -> Volume:
        """Change the quota, or take it away ("none"), and return the volume.

        Raises:
            NotSupported: another property.
            InvalidArgument: less than what is stored.
        """
        quota = chosen_quota(properties)
        with self._control("set properties of volume", uuid):
            found = self._need(uuid, "set properties of volume")
            if quota == "none":
                found = without_quota(found)
            elif quota is not None:
                found = self._resize(found, int(quota))
            return self._volume(found)

    def access_handle(self, uuid: str) -> dict[str, Any]:
        """Return ``{"kind": "directory", "path": ...}``."""
        with translated_oserror(operation="get access handle of volume", subject=uuid):
            found = self._settled(lambda: self._need(uuid, "access volume"))
            return {"kind": "directory", "path": found.path}

    def _get(self, uuid: str) -> Volume | None:
        found = self._find(uuid)
        return None if found is None else self._volume(found)

    def _resize(self, found: Found, size_bytes: int) -> Found:
        counter = UsageCounter(found.path, size_bytes, subject=found.name)
        if found.record.size_bytes is None:
            counter.reset()
        if (used := counter.used_bytes()) > size_bytes:
            raise InvalidArgument(
                f"{used} bytes are in use, more than {size_bytes}",
                field="size_bytes",
                operation="patch volume",
                subject=found.name,
                hint="choose a larger size or delete objects first",
            )
        resized = replace(found, record=replace(found.record, size_bytes=size_bytes))
        layout.write_volume_file(found.path, resized.record)
        return resized
