"""Volumes as plain directories: the embedded default, for machines without ZFS."""

from __future__ import annotations

import json
import logging
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final

from modules.durable import TEMPORARY_PREFIX, durable_file, fsync_directory, make_directories
from modules.errors import (
    InvalidArgument,
    StorageError,
    VolumeExists,
    VolumeNotFound,
    translated_oserror,
)
from modules.volumes import Volume
from zfsstore import layout
from zfsstore.layout import VolumeRecord
from zfsstore.volumes import common
from zfsstore.volumes.usage import UsageCounter
from zfsstore.zfs.names import decode_component, encode_component, split_volume_name

_log = logging.getLogger(__name__)

_UNFINISHED: Final = f"{TEMPORARY_PREFIX}volume-"


@dataclass(frozen=True, slots=True)
class _Found:
    path: str
    name: str
    record: VolumeRecord
    is_reachable: bool


class DirectoryVolumes:
    """A VolumeBackend: each tenant a directory of *root*, each bucket one of its tenant's.

    A volume is built aside and renamed into place, so it is there wholly or not at all.

    Args:
        root: an existing directory with the root volume's layout.
        instance: whose object directories to create.
    """

    def __init__(self, root: str, instance: str) -> None:
        self._root = root
        self._instance = instance

    def capabilities(self) -> dict[str, bool]:
        """Return which tiers are offered: none beyond volumes."""
        return dict(common.CAPABILITIES)

    def create_volume(self, name: str, size_bytes: int | None = None) -> Volume:
        """Create a volume, durable when this returns.

        *size_bytes* limits the sum of its objects' sizes, a tenant's with all its buckets'.
        """
        parts = split_volume_name(name)
        common.check_size(size_bytes)
        path = self._path(parts)
        record = VolumeRecord(layout.new_key_domain(), common.new_uuid(), parts[-1], size_bytes)
        with self._control("create volume", name):
            make_directories(f"{self._root}/{layout.TRASH}", mode=0o700)  # while there is space
            if len(parts) > 1 and not _is_volume(self._path(parts[:1])):
                raise VolumeNotFound(
                    f"the tenant {parts[0]!r} does not exist",
                    operation="create volume",
                    subject=name,
                    hint="create the tenant first",
                )
            if os.path.lexists(path):
                raise VolumeExists(
                    "it exists already" if _is_volume(path) else f"{path} is in the way",
                    operation="create volume",
                    subject=name,
                )
            self._build(path, record)
        return common.volume_dict(uuid=record.uuid, name=name, size_bytes=size_bytes, used_bytes=0)

    def list_volumes(self) -> list[Volume]:
        """Return every volume, sorted by name."""
        with translated_oserror(operation="list volumes of", subject=self._root):
            return sorted((_volume(found) for found in self._walk()), key=lambda v: v["name"])

    def get_volume(self, uuid: str) -> Volume | None:
        """Return the volume, or None."""
        with translated_oserror(operation="get volume", subject=uuid):
            found = self._find(uuid)
        return None if found is None else _volume(found)

    def delete_volume(self, uuid: str) -> None:
        """Move the volume with its data, and a tenant's buckets, to ``.trash`` of the root."""
        with self._control("delete volume", uuid):
            found = self._need(uuid, "delete volume")
            with suppress(OSError):  # full: then without the note
                _write_note(found)
            trash = f"{self._root}/{layout.TRASH}"
            make_directories(trash, mode=0o700)
            os.rename(found.path, f"{trash}/{common.trash_name(found.record.uuid)}")
            fsync_directory(trash)
            fsync_directory(os.path.dirname(found.path))
            if "/" in found.name:
                self._recount(os.path.dirname(found.path), found.name)

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
                found = replace(found, record=replace(found.record, size_bytes=size_bytes))
                layout.write_volume_file(found.path, found.record)
        return _volume(found)

    def access_handle(self, uuid: str) -> dict[str, Any]:
        """Return ``{"kind": "directory", "path": ...}``."""
        with translated_oserror(operation="get access handle of volume", subject=uuid):
            return {"kind": "directory", "path": self._need(uuid, "access volume").path}

    def _build(self, path: str, record: VolumeRecord) -> None:
        parent = os.path.dirname(path)
        for entry in os.listdir(parent):  # the lock is held: left by a process that was killed
            if entry.startswith(_UNFINISHED):
                shutil.rmtree(f"{parent}/{entry}")
        aside = f"{parent}/{_UNFINISHED}{secrets.token_hex(8)}"
        os.mkdir(aside)
        try:
            layout.create_layout(aside, instance=self._instance)
            layout.write_volume_file(aside, record)
            os.rename(aside, path)
        except BaseException:
            shutil.rmtree(aside, ignore_errors=True)
            raise
        fsync_directory(parent)

    def _recount(self, path: str, subject: str) -> None:
        record = layout.read_volume_file(path, subject=subject)
        if record.size_bytes is not None:
            UsageCounter(path, record.size_bytes, subject=subject).reset()

    def _path(self, parts: tuple[str, ...]) -> str:
        return "/".join((self._root, *map(encode_component, parts)))

    def _need(self, uuid: str, operation: str) -> _Found:
        found = self._find(uuid)
        if found is None:
            raise common.no_such_volume(uuid, operation=operation)
        return found

    def _find(self, uuid: str) -> _Found | None:
        wanted = common.parse_uuid(uuid)
        if wanted is None:
            return None
        return next((found for found in self._walk() if found.record.uuid == wanted), None)

    def _walk(self) -> Iterator[_Found]:
        """Yield tenants, each before its buckets, in the order of their directories' names."""
        for tenant in _volumes_in(self._root, ""):
            yield tenant
            yield from _volumes_in(tenant.path, f"{tenant.name}/")

    @contextmanager
    def _control(self, operation: str, subject: str) -> Iterator[None]:
        with (
            translated_oserror(operation=operation, subject=subject),
            common.control_lock(self._root),
        ):
            yield


def _volumes_in(parent: str, prefix: str) -> Iterator[_Found]:
    for component in sorted(os.listdir(parent)):
        if component.startswith("."):
            continue
        path = f"{parent}/{component}"
        try:
            record = layout.read_volume_file(path, subject=component)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except StorageError as error:  # one damaged volume must not hide the others
            _log.warning("left out of the list of volumes: %s", error)
            continue
        name = decode_component(component, record.name)
        yield _Found(path, prefix + (name or component), record, name is not None)


def _volume(found: _Found) -> Volume:
    record = found.record
    used = None
    if record.size_bytes is not None:
        used = UsageCounter(found.path, record.size_bytes, subject=found.name).used_bytes()
    return common.volume_dict(
        uuid=record.uuid,
        name=found.name,
        size_bytes=record.size_bytes,
        state="online" if found.is_reachable else "restricted",
        used_bytes=used,
    )


def _write_note(found: _Found) -> None:
    with durable_file(f"{found.path}/{layout.OWN}/trashed.json") as file:
        note = {"name": found.name, "trashed_at": datetime.now(UTC).isoformat()}
        file.write(json.dumps(note).encode())


def _is_volume(path: str) -> bool:
    return os.path.exists(f"{path}/{layout.VOLUME_FILE}")
