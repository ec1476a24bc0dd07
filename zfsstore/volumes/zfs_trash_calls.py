"""What is deleted lies in ``ROOT/.trash``, unmounted, until an operator empties it."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from modules.errors import (
    Busy,
    HasDependents,
    InvalidArgument,
    NotFound,
    StorageError,
    VolumeNotFound,
)
from modules.volumes import TrashedVolume, Volume
from zfsstore import layout
from zfsstore.volumes import common
from zfsstore.volumes.datasets import (
    NAME,
    PROPERTIES,
    TRASHED_AT,
    TRASHED_NAME,
    UUID,
    Found,
    refuse_locked,
    require_mounted,
)
from zfsstore.volumes.zfs_naming import named_errors
from zfsstore.volumes.zfs_operator_calls import OperatorCalls
from zfsstore.volumes.zfs_volume_calls import leave, no_tenant, to_dict
from zfsstore.zfs.commands import Dataset, format_text_property, parse_text_property
from zfsstore.zfs.names import decode_component, split_volume_name

_log = logging.getLogger(__name__)

_BEGINNING: Final = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class _Entry:
    dataset: str
    trashed: TrashedVolume
    has_name: bool
    is_locked: bool


class TrashCalls(OperatorCalls):
    """Deletion by clients, and what an operator does with it."""

    def delete_volume(self, uuid: str) -> None:
        """Move the dataset, with its snapshots and a tenant's buckets, to ``ROOT/.trash``.

        What lies there is not mounted and does not count to the tenant's quota. Clones of it
        stay as they are. A bucket of an encrypted tenant cannot leave its key: it goes to the
        ``.trash`` of the tenant, and counts to its quota.

        Raises:
            VolumeNotFound: no such volume.
            Locked: it is encrypted and locked.
            Busy: it was not let go in time; nothing was changed.
        """
        with self._lookup.control("delete volume", uuid):
            found = self._lookup.need(uuid, "delete volume")
            refuse_locked(found, operation="delete volume")
            trash = self._trash_for(found)
            names = [one.name for one in self._lookup.with_buckets(found)]
            with self._lookup.alone(names, patience_s=self.patience_s):
                note = {
                    TRASHED_NAME: format_text_property(found.name),
                    TRASHED_AT: datetime.now(UTC).isoformat(),
                }
                self._zfs.set(found.dataset, note)
                trashed = f"{trash}/{common.trash_name(found.uuid)}"
                self._until_free(lambda: self._zfs.rename(found.dataset, trashed))
                leave(found.path)

    def list_trash(self) -> list[TrashedVolume]:
        """Return what lies in the trash, oldest first; two commands for all."""
        return [entry.trashed for entry in self._entries()]

    def restore_volume(self, trash_id: str, name: str | None = None) -> Volume:
        """Move a volume out of the trash, under its old name or another; its uuid stays.

        Raises:
            VolumeNotFound: it is not in the trash, or its tenant is not there.
            VolumeExists: the name is taken.
            InvalidArgument: its name was not recorded and none is given, or a bucket would become
                a tenant.
        """
        with self._lookup.control("restore volume", trash_id):
            entry = self._entry(trash_id)
            if name is None and not entry.has_name:
                raise InvalidArgument(
                    "its name was not recorded", field="name", operation="restore", subject=trash_id
                )
            new_name = entry.trashed.name if name is None else name
            parts = split_volume_name(new_name)
            if entry.has_name:
                self._check_kind(entry.trashed.name, new_name, "restore volume")
            self._check_target(new_name, "restore volume")
            buckets = self._buckets_of(entry)
            names = [new_name, *(f"{new_name}/{bucket}" for bucket in buckets.values())]
            with self._lookup.alone(names, patience_s=self.patience_s):
                dataset = self._lookup.dataset(parts)
                self._put_back(entry, dataset, new_name, buckets)
                if not entry.is_locked:
                    require_mounted(dataset, self._lookup.path(parts), operation="restore volume")
            return to_dict(self._settled(entry.trashed.uuid, new_name))

    def empty_trash(self, *, older_than: timedelta, dry_run: bool = True) -> list[TrashedVolume]:
        """Destroy, unless *dry_run*, what has been in the trash for longer; return what that is.

        What a live volume is a clone of stays, and so does what cannot be destroyed just now;
        neither is returned. What has no recorded time is never old.
        """
        if older_than < timedelta(0):
            raise InvalidArgument("must not be negative", field="older_than")
        oldest_kept = datetime.now(UTC) - older_than
        with self._lookup.control("empty trash of", self._lookup.root_dataset):
            old = [
                entry
                for entry in self._entries()
                if entry.trashed.trashed_at is not None and entry.trashed.trashed_at <= oldest_kept
            ]
            if not old:
                return []
            dependents = self._dependents()
            chosen = plan_destruction([entry.dataset for entry in old], dependents)
            by_dataset = {entry.dataset: entry for entry in old}
            gone = {name for name in chosen if dry_run or self._is_destroyed(by_dataset[name])}
        return [entry.trashed for entry in old if entry.dataset in gone]

    def _is_destroyed(self, entry: _Entry) -> bool:
        try:
            self._zfs.destroy(entry.dataset, recursive=True)
        except (HasDependents, Busy) as error:
            _log.warning("%s stays in the trash: %s", entry.trashed.name, error)
            return False
        except NotFound:
            return False
        return True

    def _dependents(self) -> dict[str, set[str]]:
        """Return the clones of each dataset in the trash; one command for all."""
        listed = self._zfs.list_datasets(
            self._trashes(), ("clones",), types=("snapshot",), recursive=True
        )
        found: dict[str, set[str]] = {}
        for one in listed:
            clones = filter(None, (one.value("clones") or "").split(","))
            found.setdefault(one.name.partition("@")[0], set()).update(clones)
        return found

    def _entries(self) -> list[_Entry]:
        """Return what lies in the trash, oldest first."""
        trashes = self._trashes()
        if not trashes:
            return []  # nothing was ever deleted
        listed = self._zfs.get(trashes, (*PROPERTIES, TRASHED_AT), depth=1)
        entries = [_entry_of(one) for one in listed if one.name not in trashes]
        found = [entry for entry in entries if entry is not None]
        return sorted(found, key=lambda e: (e.trashed.trashed_at or _BEGINNING, e.trashed.id))

    def _trash_for(self, found: Found) -> str:
        """Return the dataset that a volume is moved below, created when it is missing."""
        if found.has_own_key or not found.has_tenants_key:
            self._make_trash()
            return self._lookup.trash
        trash = f"{found.encryption_root}/{layout.TRASH}"
        self._zfs.create_if_absent(trash, {"canmount": "off", "mountpoint": "none"})
        return trash

    def _trashes(self) -> list[str]:
        """Return the store's trash and those of encrypted tenants, as far as they exist."""
        own, name = self._lookup.trash, f"/{layout.TRASH}"
        listed = self._zfs.get([self._lookup.root_dataset], (UUID,), depth=2)
        return [
            one.name
            for one in listed
            if one.name == own or (one.name.endswith(name) and not one.name.startswith(f"{own}/"))
        ]

    def _entry(self, trash_id: str) -> _Entry:
        for entry in self._entries():
            if entry.trashed.id == trash_id:
                return entry
        raise VolumeNotFound(
            "it is not in the trash",
            operation="restore volume",
            subject=f"{trash_id!r:.200}",
            hint="list the trash for what there is",
        )

    def _buckets_of(self, entry: _Entry) -> dict[str, str]:
        """Return a trashed tenant's datasets that are buckets, with the buckets' names."""
        buckets = {}
        for present in self._zfs.get([entry.dataset], (UUID, NAME), depth=1):
            if present.name == entry.dataset or present.own(UUID) is None:
                continue
            component = present.name.rpartition("/")[2]
            stored = parse_text_property(present.own(NAME) or "")
            buckets[present.name] = decode_component(component, stored) or component
        return buckets

    def _put_back(
        self, entry: _Entry, dataset: str, new_name: str, buckets: Mapping[str, str]
    ) -> None:
        own_name = new_name.rpartition("/")[2]
        self._zfs.set(entry.dataset, {NAME: format_text_property(own_name)})
        try:
            with named_errors("restore volume", new_name):
                self._zfs.rename(entry.dataset, dataset)
        except VolumeNotFound as error:
            raise no_tenant(new_name, "restore volume") from error
        self._lookup.remember(entry.trashed.uuid, dataset)
        for present in () if entry.is_locked else (entry.dataset, *buckets):
            self._zfs.mount(dataset + present.removeprefix(entry.dataset))
        for note in (TRASHED_NAME, TRASHED_AT):
            with suppress(StorageError):  # says nothing outside of the trash
                self._zfs.inherit(dataset, note)


def plan_destruction(datasets: Sequence[str], clones: Mapping[str, set[str]]) -> list[str]:
    """Return which of *datasets* can be destroyed with all below them, in a possible order.

    One can when every clone of its snapshots lies in itself, or in one that goes before it.

    Args:
        datasets: none of them below another.
        clones: of each dataset at or below them, the clones of its snapshots.
    """
    needed_by = {
        dataset: {
            clone
            for parent, found in clones.items()
            if _is_in(parent, dataset)
            for clone in found
            if not _is_in(clone, dataset)
        }
        for dataset in datasets
    }
    order: list[str] = []
    while True:
        free = [
            dataset
            for dataset in datasets
            if dataset not in order
            and all(any(_is_in(clone, gone) for gone in order) for clone in needed_by[dataset])
        ]
        if not free:
            return order
        order += free


def _is_in(dataset: str, tree: str) -> bool:
    return dataset == tree or dataset.startswith(f"{tree}/")


def _entry_of(present: Dataset) -> _Entry | None:
    """Return an entry of the trash, None for what is no volume."""
    uuid = common.parse_uuid(present.own(UUID))
    if uuid is None:
        return None
    entry_id = present.name.rpartition("/")[2]
    name = present.own(TRASHED_NAME)
    trashed = TrashedVolume(
        id=entry_id,
        uuid=uuid,
        name=parse_text_property(name) if name else entry_id,
        trashed_at=_parsed_time(present.own(TRASHED_AT)),
        used_bytes=present.number("used") or 0,
    )
    is_locked = present.value("keystatus") == "unavailable"
    return _Entry(present.name, trashed, name is not None, is_locked)


def _parsed_time(text: str | None) -> datetime | None:
    """Return a recorded time; None when there is none, or it is none."""
    with suppress(ValueError):
        moment = datetime.fromisoformat(text or "")
        return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return None
