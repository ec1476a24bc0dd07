"""Reading objects and listing containers, as they are or as of a snapshot."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Final

from modules.errors import ObjectNotFound
from modules.streams import ReadStream
from zfsstore.host.blobs import Blobs, missing_data
from zfsstore.host.buckets import Bucket
from zfsstore.host.catalog.records import Tenant
from zfsstore.host.namespace.records import Kind, Page, Version
from zfsstore.host.opening import BucketOpener, OpenBucket, no_such_bucket

_READ_ATTEMPTS: Final = 8


class ObjectReader:
    """The part of the object service that changes nothing.

    Every method takes the name of a snapshot of the bucket, to answer as of that; today's
    catalog says who may ask. Then it raises, too:

        SnapshotNotFound: the bucket has none of this name.
        InvalidName: no snapshot can have this name.
        NotSupported: the bucket's module has no snapshots.
    """

    def __init__(self, opener: BucketOpener, blobs: Blobs) -> None:
        self._opener = opener
        self._blobs = blobs

    def get_bucket(self, tenant: Tenant, name: str, *, snapshot: str | None = None) -> Bucket:
        """Return a bucket, from its index alone: without uuid and, for a volume, its quota.

        Raises:
            VolumeNotFound: there is none, or it is being deleted.
        """
        with self._open(tenant, name, snapshot) as opened:
            info = opened.index.info()
            if info.is_deleting:
                raise no_such_bucket(opened.path)
        return Bucket(name, None, info.quota_bytes, info.created_at)

    def head_object(
        self, tenant: Tenant, bucket: str, key: str, *, snapshot: str | None = None
    ) -> Version:
        """Return an object's description.

        Raises:
            ObjectNotFound: there is none; a container is none.
        """
        with self._open(tenant, bucket, snapshot) as opened:
            return _get(opened, key)

    def open_object(
        self, tenant: Tenant, bucket: str, key: str, *, snapshot: str | None = None
    ) -> tuple[Version, ReadStream]:
        """Return an object's description and a stream of its value; the caller closes it.

        An object that is replaced between the two steps is looked up again.

        Raises:
            ObjectNotFound: there is none.
            IntegrityError: the index has it, its module does not.
        """
        with self._open(tenant, bucket, snapshot) as opened:
            seen = None
            for _ in range(_READ_ATTEMPTS):
                version = _get(opened, key)
                if version.version_id == seen:
                    break
                try:
                    return version, self._blobs.open(opened.path, version, snapshot=snapshot)
                except ObjectNotFound:
                    seen = version.version_id
            raise missing_data(opened.path, key)

    def container_exists(
        self, tenant: Tenant, bucket: str, key: str, *, snapshot: str | None = None
    ) -> bool:
        """Return whether the container *key* ("a/b/") was created, or any key lies in it."""
        with self._open(tenant, bucket, snapshot) as opened:
            return opened.index.is_container(key)

    def list_children(
        self,
        tenant: Tenant,
        bucket: str,
        prefix: str = "",
        *,
        after: str | None = None,
        limit: int = 1000,
        delimiter: str = "/",
        snapshot: str | None = None,
    ) -> Page:
        """Return a page of keys and common prefixes that start with *prefix*, in byte order.

        A container's own entry (the key that equals *prefix*) is not among its children. A
        prefix that nothing has gives an empty page: ask ``container_exists``.

        Args:
            after: the ``next_after`` of the page before, or any key to start behind.
            delimiter: "" lists every key below.
        """
        if prefix.endswith("/") and (after is None or after.encode() < prefix.encode()):
            after = prefix
        with self._open(tenant, bucket, snapshot) as opened:
            return opened.index.list_keys(prefix, delimiter=delimiter, after=after, limit=limit)

    def stored(self, tenant: Tenant, bucket: str, module_name: str) -> list[str]:
        """Return the module_data of all of a bucket's objects that a module holds."""
        with self._open(tenant, bucket) as opened:
            return list(opened.index.needed_module_data(module_name))

    def _open(
        self, tenant: Tenant, bucket: str, snapshot: str | None = None
    ) -> AbstractContextManager[OpenBucket]:
        if snapshot is None:
            return self._opener.open(tenant, bucket)
        return self._opener.open_snapshot(tenant, bucket, snapshot)


def _get(opened: OpenBucket, key: str) -> Version:
    version = opened.index.get(key)
    if version is None or version.kind is not Kind.OBJECT:
        raise ObjectNotFound(
            "there is none", operation="get object", subject=f"{opened.path}/{key}"
        )
    return version
