"""Volumes as ZFS datasets below a root dataset: ``ROOT/<tenant>`` and ``ROOT/<tenant>/<bucket>``.

A volume is a dataset with a ``zfsstore:uuid`` of its own (local or received: properties are
inherited, so a child without one would show its parent's). It is complete when its volume.json
is there; until then the next call of create_volume finishes what an interrupted one left.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from modules.errors import (
    AlreadyExists,
    ConfigurationError,
    NotFound,
    PermissionDenied,
    StorageError,
    Unavailable,
    VolumeExists,
    VolumeNotFound,
    translated_oserror,
)
from modules.state import open_database
from modules.volumes import Volume
from zfsstore import layout
from zfsstore.layout import VolumeRecord
from zfsstore.volumes import common
from zfsstore.zfs.client import ZfsClient
from zfsstore.zfs.commands import Dataset, format_text_property, parse_text_property
from zfsstore.zfs.names import decode_component, encode_component, split_volume_name

UUID: Final = "zfsstore:uuid"
NAME: Final = "zfsstore:name"
TRASHED_NAME: Final = "zfsstore:trashed-name"
TRASHED_AT: Final = "zfsstore:trashed-at"

SMALLEST_QUOTA_BYTES: Final = 32 * 1024 * 1024
"""Below this, ballast, headroom and directories leave hardly any room for objects."""

_PROPERTIES: Final = ("mountpoint", "mounted", "used", "quota", UUID, NAME)
_FIXED: Final = {"setuid": "off", "exec": "off", "devices": "off", "atime": "off", "xattr": "sa"}
_STATE_RECORDSIZE: Final = "16K"
_OBJECT_RECORDSIZE: Final = "1M"
_INDEX_BYTES: Final = 4 * 16 * 1024


@dataclass(frozen=True, slots=True)
class _Found:
    dataset: str
    name: str
    uuid: str
    path: str
    is_mounted: bool
    is_reachable: bool
    quota_bytes: int | None
    used_bytes: int | None


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
            try:
                self._client.create(dataset, _creation_properties(uuid, parts[-1], size_bytes))
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
            trash = f"{self._root_dataset}/{layout.TRASH}"
            self._client.create_if_absent(trash, {"canmount": "off", "mountpoint": "none"})
            note = {
                TRASHED_NAME: format_text_property(found.name),
                TRASHED_AT: datetime.now(UTC).isoformat(),
            }
            self._client.set(found.dataset, note)
            self._client.rename(found.dataset, f"{trash}/{common.trash_name(found.uuid)}")
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
        (present,) = self._client.get(dataset, _PROPERTIES)
        uuid = present.own(UUID)
        path = self._path(split_volume_name(name))
        if present.value("mounted") != "yes" and uuid is not None:
            self._client.mount(dataset)
        if uuid is None or os.path.exists(f"{path}/{layout.VOLUME_FILE}"):
            raise VolumeExists(
                "it exists already" if uuid else f"the dataset {dataset} is in the way",
                operation="create volume",
                subject=name,
            ) from error
        quota = "none" if size_bytes is None else str(size_bytes)
        self._client.set(dataset, {"recordsize": _STATE_RECORDSIZE, "quota": quota})
        return uuid

    def _complete(self, dataset: str, path: str, uuid: str, name: str) -> None:
        """Create what is inside the volume; volume.json last."""
        _require_mounted(dataset, path)
        layout.create_layout(path, instance=self._instance)
        _create_index_file(Path(path, layout.STATE))
        self._client.set(dataset, {"recordsize": _OBJECT_RECORDSIZE})
        layout.write_volume_file(path, VolumeRecord(layout.new_key_domain(), uuid, name))

    def _need(self, uuid: str, operation: str) -> _Found:
        found = self._find(uuid)
        if found is None:
            raise common.no_such_volume(uuid, operation=operation)
        return found

    def _find(self, uuid: str) -> _Found | None:
        wanted = common.parse_uuid(uuid)
        if wanted is None:
            return None
        return next((found for found in self._walk() if found.uuid == wanted), None)

    def _walk(self) -> Iterator[_Found]:
        names: dict[str, str] = {self._root_dataset: ""}
        trash = f"{self._root_dataset}/{layout.TRASH}"
        for present in self._client.get(self._root_dataset, _PROPERTIES, depth=2):
            uuid = present.own(UUID)
            parent, _slash, component = present.name.rpartition("/")
            if uuid is None or parent not in names or present.name == trash:
                continue
            own_name = decode_component(component, parse_text_property(present.own(NAME) or ""))
            name = "/".join(filter(None, (names[parent], own_name or component)))
            names[present.name] = name
            yield _found(present, name, uuid, is_reachable=own_name is not None)

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


def find_root(client: ZfsClient, dataset: str) -> str:
    """Return the mountpoint of the root dataset; one command.

    Raises:
        ConfigurationError: it does not exist, is not mounted, or cannot be asked for.
    """
    try:
        (present,) = client.get(dataset, ("type", "mountpoint", "mounted"))
    except StorageError as error:
        raise ConfigurationError(
            str(error),
            field="dataset",
            hint=error.hint or f"create it with `zfs create {dataset}`",
        ) from error
    mountpoint = present.value("mountpoint") or "none"
    if present.value("mounted") != "yes" or not mountpoint.startswith("/"):
        raise ConfigurationError(
            f"the dataset {dataset} is not mounted (mountpoint {mountpoint})",
            field="dataset",
            hint=f"run `zfs mount {dataset}`; legacy and none cannot be used",
        )
    return mountpoint.rstrip("/") or "/"


def _creation_properties(uuid: str, name: str, size_bytes: int | None) -> Mapping[str, str]:
    quota = {} if size_bytes is None else {"quota": str(size_bytes)}
    own = {UUID: uuid, NAME: format_text_property(name)}
    return {"recordsize": _STATE_RECORDSIZE, **_FIXED, **quota, **own}


def _require_mounted(dataset: str, path: str) -> None:
    """Raise unless *path* is a file system of its own that we may write to."""
    try:
        is_mounted = os.stat(path).st_dev != os.stat(os.path.dirname(path)).st_dev
    except FileNotFoundError:
        is_mounted = False
    if not is_mounted:
        raise Unavailable(
            f"the dataset was created but is not mounted at {path}",
            operation="create volume",
            subject=dataset,
            hint="unset its mountpoint property, mount it, then create the volume again",
        )
    if not os.access(path, os.W_OK | os.X_OK):
        raise PermissionDenied(
            f"this process may not write to {path}",
            operation="create volume",
            subject=dataset,
            hint=f"as root, run `chown USER {path}`, then create the volume again",
        )


def _create_index_file(state: Path) -> None:
    """Create the index database while recordsize is 16K, larger than one record.

    ZFS fixes a file's record size when the file outgrows one record, so the database keeps small
    records after the dataset's recordsize is raised for objects. Its pages are free again.
    """
    connection = open_database(state, "index")
    try:
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        (page_bytes,) = connection.execute("PRAGMA page_size").fetchone()
        if pages * page_bytes >= _INDEX_BYTES:
            return
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("CREATE TABLE IF NOT EXISTS filler (content BLOB)")
        connection.execute("INSERT INTO filler VALUES (zeroblob(?))", (_INDEX_BYTES,))
        connection.execute("DROP TABLE filler")
        connection.execute("COMMIT")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    finally:
        connection.close()


def _found(present: Dataset, name: str, uuid: str, *, is_reachable: bool) -> _Found:
    return _Found(
        dataset=present.name,
        name=name,
        uuid=uuid,
        path=present.value("mountpoint") or "",
        is_mounted=present.value("mounted") == "yes",
        is_reachable=is_reachable,
        quota_bytes=present.number("quota"),
        used_bytes=present.number("used") or 0,
    )


def _volume(found: _Found) -> Volume:
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
