"""Locking and unlocking tenants that are encrypted by ZFS itself.

A tenant's dataset is the encryption root, its buckets inherit the key. Locked, the datasets are
there, but not mounted; nothing in them can be read, and nothing is ever written into the
directories that they were mounted on.
"""

from __future__ import annotations

from collections.abc import Iterable

from modules.errors import InvalidArgument, StorageError
from modules.volume_properties import EncryptionKey
from modules.volumes import Volume
from zfsstore.volumes.datasets import Found, require_mounted
from zfsstore.volumes.encryption import read_key
from zfsstore.volumes.properties_zfs import PropertyCalls
from zfsstore.volumes.zfs_volume_calls import to_dict

_UNLOCK = "unlock volume"
_LOCK = "lock volume"


class EncryptionCalls(PropertyCalls):
    """Keys of tenants."""

    def unlock_volume(self, uuid: str, key: EncryptionKey | None = None) -> Volume:
        """Load a tenant's key and mount the tenant with its buckets; again is silent.

        Args:
            key: None for where the property keylocation says.

        Raises:
            VolumeNotFound: no such volume.
            InvalidArgument: it is not the key; it is a bucket, or not encrypted; the property
                names no place.
            KeyUnavailable: the key cannot be read.
        """
        material = None if key is None else read_key(key)  # may take long, so outside of the lock
        with self._lookup.control(_UNLOCK, uuid):
            tenant = self._encrypted(uuid, _UNLOCK)
            if material is None and tenant.is_locked:
                self._require_location(tenant)
            self._zfs.load_key(tenant.dataset, material)
            volumes = self._lookup.with_buckets(tenant)
            self._mount_all(volumes)
            for found in volumes:
                require_mounted(found.dataset, found.path, operation=_UNLOCK)
            return to_dict(self._lookup.need(uuid, _UNLOCK))

    def lock_volume(self, uuid: str) -> Volume:
        """Wait until nobody uses the tenant and its buckets, unmount them, forget the key.

        Raises:
            VolumeNotFound: no such volume.
            InvalidArgument: it is a bucket, or not encrypted.
            Busy: it was not let go in time; it is as it was.
        """
        with self._lookup.control(_LOCK, uuid):
            tenant = self._encrypted(uuid, _LOCK)
            volumes = self._lookup.with_buckets(tenant)
            names = [found.name for found in volumes]
            with self._lookup.alone(names, patience_s=self.patience_s):
                try:
                    self._until_free(lambda: self._zfs.unmount(tenant.dataset))
                    self._zfs.unload_key(tenant.dataset)
                except StorageError:
                    self._mount_all(found for found in volumes if found.is_mounted)
                    raise
            return to_dict(self._lookup.need(uuid, _LOCK))

    def _mount_all(self, volumes: Iterable[Found]) -> None:
        """Mount volumes, given parents before children."""
        for found in volumes:
            self._zfs.mount(found.dataset)

    def _encrypted(self, uuid: str, operation: str) -> Found:
        """Return the tenant, which has a key of its own."""
        found = self._lookup.need(uuid, operation)
        reason = None
        if "/" in found.name:
            reason = "it is a bucket, which has the key of its tenant"
        elif not found.has_own_key:
            reason = "it is not encrypted"
        if reason is not None:
            raise InvalidArgument(reason, field="volume", operation=operation, subject=found.name)
        return found

    def _require_location(self, tenant: Found) -> None:
        (present,) = self._zfs.get([tenant.dataset], ("keylocation",))
        if present.value("keylocation") in (None, "prompt"):
            raise InvalidArgument(
                "its key was given by hand",
                field="key",
                operation=_UNLOCK,
                subject=tenant.name,
                hint="give the key: a file, or a command that prints it",
            )
