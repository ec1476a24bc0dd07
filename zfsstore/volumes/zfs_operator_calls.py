"""Renaming and destroying volumes: what pulls open files away, done when nobody has any."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress

from modules.errors import HasDependents, InvalidArgument, NotFound, StorageError, VolumeExists
from modules.volumes import DestroyPlan, Volume
from zfsstore.volumes.datasets import NAME, Found, refuse_locked, settle, unusable
from zfsstore.volumes.zfs_clone_calls import CloneCalls
from zfsstore.volumes.zfs_naming import named_errors
from zfsstore.volumes.zfs_volume_calls import leave, no_tenant, to_dict
from zfsstore.zfs.commands import format_text_property
from zfsstore.zfs.names import split_volume_name


class OperatorCalls(CloneCalls):
    """What crosses single volumes, or cannot be taken back."""

    def rename_volume(self, uuid: str, new_name: str) -> Volume:
        """Rename a volume; a bucket may move to another tenant, a tenant takes its buckets along.

        One command of ZFS renames; whatever is interrupted, the volume has its old or its new
        name, and all of its buckets with it.

        Raises:
            VolumeExists: the new name is taken.
            VolumeNotFound: there is no such volume, or not the new tenant.
            InvalidArgument: a bucket cannot become a tenant, nor a tenant a bucket.
            Busy: it was not let go in time; nothing was changed.
        """
        parts = split_volume_name(new_name)
        with self._lookup.control("rename volume", uuid):
            found = self._lookup.need(uuid, "rename volume")
            self._check_kind(found.name, new_name, "rename volume")
            if found.name != new_name:
                refuse_locked(found, operation="rename volume")
                _check_key(found, new_name)
                self._check_target(new_name, "rename volume")
                tree = self._lookup.with_buckets(found)
                names = _both_names([one.name for one in tree], found.name, new_name)
                with self._lookup.alone(names, patience_s=self.patience_s):
                    self._move(found, self._lookup.dataset(parts), new_name)
                    leave(found.path)
            return to_dict(self._settled(uuid, new_name))

    def plan_destroy(self, uuid: str) -> DestroyPlan:
        """Return what ``destroy_volume`` would remove, called as volumes. Nothing is changed.

        Raises:
            HasDependents: it cannot be destroyed; says what depends on it.
        """
        found = self._lookup.need(uuid, "plan to destroy volume")
        try:
            with named_errors("plan to destroy volume", found.name):
                plan = self._zfs.plan_destroy(found.dataset, recursive=True)
        except HasDependents as error:
            raise self._dependents_error("destroy volume", found.name, found.dataset) from error
        called = self._lookup.names(plan.names)
        return DestroyPlan(tuple(called[name] for name in plan.names), plan.reclaim_bytes)

    def destroy_volume(self, uuid: str) -> None:
        """Destroy a volume with its snapshots, and a tenant with its buckets, for good.

        Raises:
            HasDependents: a volume outside it is a clone of one of its snapshots; nothing was
                destroyed.
            Busy: it was not let go in time.
        """
        with self._lookup.control("destroy volume", uuid):
            found = self._lookup.need(uuid, "destroy volume")
            names = [one.name for one in self._lookup.with_buckets(found)]
            if self._clones(found.dataset):  # zfs would find out half-way
                raise self._dependents_error("destroy volume", found.name, found.dataset)
            with self._lookup.alone(names, patience_s=self.patience_s):
                self._destroy_tree(found.dataset, found.name)
                leave(found.path)

    def _destroy_tree(self, dataset: str, name: str) -> None:
        with named_errors("destroy volume", name):
            self._until_free(lambda: self._zfs.destroy(dataset, recursive=True))

    def _check_kind(self, name: str, new_name: str, operation: str) -> None:
        if ("/" in name) != ("/" in new_name):
            raise InvalidArgument(
                "a bucket cannot become a tenant, nor a tenant a bucket",
                field="new_name",
                operation=operation,
                subject=f"{name} to {new_name}",
            )

    def _check_target(self, new_name: str, operation: str) -> None:
        """Make sure that *new_name* is free, and its tenant there and mounted.

        Raises:
            VolumeExists, VolumeNotFound, Unavailable
        """
        parts = split_volume_name(new_name)
        if len(parts) > 1:
            tenant = self._lookup.named(parts[0])
            if tenant is None:
                raise no_tenant(new_name, operation)
            if not tenant.is_mounted:
                raise unusable(tenant, operation=operation)
        try:
            self._zfs.get([self._lookup.dataset(parts)], (NAME,))
        except NotFound:
            return
        raise VolumeExists("it exists already", operation=operation, subject=new_name)

    def _move(self, found: Found, dataset: str, new_name: str) -> None:
        """Rename the dataset of a volume; on failure it is as before.

        The property goes first: until the rename volume.json tells the name of a dataset whose
        own name is too long to be decoded.
        """
        own_name = new_name.rpartition("/")[2]
        if own_name != found.own_name:
            self._zfs.set(found.dataset, {NAME: format_text_property(own_name)})
        try:
            with named_errors("rename volume", f"{found.name} to {new_name}"):
                self._until_free(lambda: self._zfs.rename(found.dataset, dataset))
        except StorageError:
            if own_name != found.own_name:
                with suppress(NotFound):  # renamed, but not mounted there
                    self._zfs.set(found.dataset, {NAME: format_text_property(found.own_name)})
            raise
        self._lookup.remember(found.uuid, dataset)

    def _settled(self, uuid: str, name: str) -> Found:
        """Return the volume under its new name, with fence and volume.json of that name."""
        found = self._lookup.need(uuid, "rename volume")
        self._lookup.create_fence(name)
        settle(found)
        return found


def _check_key(found: Found, new_name: str) -> None:
    """Make sure that a bucket stays with the key that it is encrypted with.

    Raises:
        InvalidArgument: it would leave its encrypted tenant.
    """
    tenant = found.name.partition("/")[0]
    leaves = "/" in found.name and not new_name.startswith(f"{tenant}/")
    if leaves and found.has_tenants_key:
        raise InvalidArgument(
            f"it has the key of its encrypted tenant {tenant!r}, and must stay in it",
            field="new_name",
            operation="rename volume",
            subject=f"{found.name} to {new_name}",
            hint="copy the objects instead",
        )


def _both_names(names: Sequence[str], old: str, new: str) -> Iterable[str]:
    """Return the names of a volume and its buckets, before and after it is renamed."""
    return [*names, *(new + name.removeprefix(old) for name in names)]
