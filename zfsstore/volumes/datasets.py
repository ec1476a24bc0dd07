"""What a dataset must be like to be a volume, and what a new one gets."""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Final

from modules.errors import (
    ConfigurationError,
    PermissionDenied,
    StorageError,
    Unavailable,
    translated_oserror,
)
from modules.state import open_database
from modules.volumes import CloneOrigin
from zfsstore import layout
from zfsstore.places import locked
from zfsstore.zfs.client import ZfsClient
from zfsstore.zfs.commands import Dataset, format_text_property

_log = logging.getLogger(__name__)

UUID: Final = "zfsstore:uuid"
NAME: Final = "zfsstore:name"
TRASHED_NAME: Final = "zfsstore:trashed_name"
TRASHED_AT: Final = "zfsstore:trashed_at"

PROPERTIES: Final = (
    *("mountpoint", "mounted", "used", "quota", "recordsize", "readonly", "origin"),
    *("createtxg", "guid", "encryptionroot", "keystatus", UUID, NAME, TRASHED_NAME),
)
FIXED: Final = {"setuid": "off", "exec": "off", "devices": "off", "atime": "off", "xattr": "sa"}
STATE_RECORDSIZE: Final = str(16 * 1024)  # as `zfs get -p` prints it
OBJECT_RECORDSIZE: Final = str(1024 * 1024)
_INDEX_BYTES: Final = 4 * 16 * 1024


@dataclass(frozen=True, slots=True)
class Found:
    """A dataset that is a volume.

    Attributes:
        dataset, name: "tank/objects/acme/photos", "acme/photos".
        path: its mountpoint.
        is_reachable: its name and its mountpoint are those under which the store looks for it.
        origin: the snapshot that it is a clone of, its dataset as the volume it is, or was.
        encryption_root: the dataset whose key it is encrypted with, None when it is not.
        is_locked: that key is not loaded.
    """

    dataset: str
    name: str
    uuid: str
    path: str
    is_mounted: bool
    is_reachable: bool
    is_read_only: bool
    quota_bytes: int | None
    used_bytes: int | None
    origin: CloneOrigin | None = None
    encryption_root: str | None = None
    is_locked: bool = False

    @property
    def has_own_key(self) -> bool:
        """True for an encryption root."""
        return self.encryption_root == self.dataset

    @property
    def has_tenants_key(self) -> bool:
        """True for an encrypted tenant and its buckets."""
        tenant = self.dataset.rpartition("/")[0] if "/" in self.name else self.dataset
        return self.encryption_root == tenant

    @property
    def own_name(self) -> str:
        """The name without the tenant's."""
        return self.name.rpartition("/")[2]


def find_root(client: ZfsClient, dataset: str) -> str:
    """Return the mountpoint of the root dataset; one command.

    Raises:
        ConfigurationError: it does not exist, is not mounted, or cannot be asked for.
    """
    try:
        (present,) = client.get([dataset], ("type", "mountpoint", "mounted"))
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


def creation_properties(
    uuid: str,
    name: str,
    size_bytes: int | None,
    chosen: Mapping[str, str] = MappingProxyType({}),
) -> Mapping[str, str]:
    quota = {} if size_bytes is None else {"quota": str(size_bytes)}
    own = {UUID: uuid, NAME: format_text_property(name)}
    return {"recordsize": STATE_RECORDSIZE, **FIXED, **quota, **chosen, **own}


def require_mounted(dataset: str, path: str, *, operation: str = "create volume") -> None:
    """Raise unless *path* is a file system of its own that we may write to."""
    try:
        is_mounted = os.stat(path).st_dev != os.stat(os.path.dirname(path)).st_dev
    except FileNotFoundError:
        is_mounted = False
    if not is_mounted:
        raise not_mounted(dataset, path, operation=operation)
    if not os.access(path, os.W_OK | os.X_OK):
        raise PermissionDenied(
            f"this process may not write to {path}",
            operation=operation,
            subject=dataset,
            hint=f"as root, run `chown USER {path}`, then try again",
        )


def not_mounted(dataset: str, path: str, *, operation: str = "create volume") -> Unavailable:
    return Unavailable(
        f"the dataset exists but is not mounted at {path}",
        operation=operation,
        subject=dataset,
        hint="mount it there, then try again",
    )


def unusable(found: Found, *, operation: str) -> Unavailable:
    """Return the error for a volume that is locked, or not mounted."""
    if found.is_locked:
        tenant = found.name.partition("/")[0]
        return locked(tenant, operation=operation, subject=found.name)
    return not_mounted(found.dataset, found.path, operation=operation)


def refuse_locked(found: Found, *, operation: str) -> None:
    """Raise Locked when the volume's key is not loaded."""
    if found.is_locked:
        raise unusable(found, operation=operation)


def create_index_file(state: Path) -> None:
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


def found_volume(
    present: Dataset, name: str, uuid: str, *, is_reachable: bool, origin: CloneOrigin | None
) -> Found:
    return Found(
        dataset=present.name,
        name=name,
        uuid=uuid,
        path=present.value("mountpoint") or "",
        is_mounted=present.value("mounted") == "yes",
        is_reachable=is_reachable,
        is_read_only=present.value("readonly") == "on",
        quota_bytes=present.number("quota"),
        used_bytes=present.number("used") or 0,
        origin=origin,
        encryption_root=present.value("encryptionroot"),
        is_locked=present.value("keystatus") == "unavailable",
    )


def is_complete(found: Found) -> bool:
    """Return whether the volume is mounted and has its volume.json."""
    return found.is_mounted and os.path.exists(f"{found.path}/{layout.VOLUME_FILE}")


def settle(found: Found) -> None:
    """Make volume.json say which volume this is, after a clone, rollback, rename or receive.

    What it says is a hint: the dataset's properties count. So a full volume may keep a stale one,
    and what cannot be written (a replica, what is not mounted or not complete) is left alone.

    Raises:
        StorageError: volume.json is damaged, or of a newer release.
    """
    if found.is_read_only or not is_complete(found):
        return
    with translated_oserror(operation="open volume", subject=found.name):
        record = layout.read_volume_file(found.path, subject=found.name)
        settled = replace(record, uuid=found.uuid, name=found.own_name)
        if settled == record:
            return
        try:
            layout.write_volume_file(found.path, settled)
        except OSError as error:
            if error.errno not in (errno.EDQUOT, errno.ENOSPC, errno.EROFS):
                raise
            _log.warning("volume.json of %s stays as it is: %s", found.name, error.strerror)
