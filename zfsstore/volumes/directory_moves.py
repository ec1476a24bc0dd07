"""Renaming, throwing away, taking back and destroying directory volumes.

All of these pull a volume's directory away from whoever uses it; so they wait until nobody holds
its fence, nor that of a bucket in it.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from modules.durable import durable_file
from modules.errors import (
    InvalidArgument,
    QuotaExceeded,
    StorageError,
    VolumeExists,
    VolumeNotFound,
    translated_oserror,
)
from modules.volumes import DestroyPlan, TrashedVolume, Volume
from zfsstore import layout
from zfsstore.volumes import common, directory_trees
from zfsstore.volumes.directory_base import Found, format_volume_file, is_volume, volumes_in
from zfsstore.volumes.directory_clones import CloneCalls
from zfsstore.volumes.directory_journal import Move, Unlink, Write
from zfsstore.volumes.usage import UsageCounter, stored_bytes
from zfsstore.zfs.names import split_volume_name

_NOTE: Final = f"{layout.OWN}/trashed.json"
_STAMP: Final = re.compile(r"(\d{8}t\d{6}\.\d{6}z)-.+")


class MoveCalls(CloneCalls):
    """The rest of the calls of OperatorBackend."""

    def rename_volume(self, uuid: str, new_name: str) -> Volume:
        """Rename a volume; a bucket may move to another tenant, a tenant takes its buckets along.

        Raises:
            InvalidArgument: a bucket would become a tenant, or a tenant a bucket.
            QuotaExceeded: the other tenant's quota has no room for the bucket.
        """
        parts = split_volume_name(new_name)
        with self._control("rename volume", uuid):
            found = self._need(uuid, "rename volume")
            if found.name == new_name:
                return self._volume(found)
            self._require_same_kind(found.name, new_name, "rename volume")
            path = self._require_free(new_name, "rename volume")
            self._require_room(found, new_name)
            self._make_fences(new_name)
            renamed = replace(found, path=path, name=new_name, is_reachable=True)
            renamed = replace(renamed, record=replace(found.record, name=parts[-1]))
            with self._alone(self._names(found) + self._names(found, new_name)):
                self._journal.commit(
                    [
                        Move(found.path, path),
                        Write(renamed.own(layout.VOLUME_FILE), format_volume_file(renamed.record)),
                        *self._counted_again(found.name, new_name),
                    ]
                )
            return self._volume(renamed)

    def delete_volume(self, uuid: str) -> None:
        """Move the volume with its snapshots, and a tenant's buckets, to ``.trash`` of the root.

        Raises:
            VolumeNotFound: no such volume.
            Busy: it is in use.
        """
        with self._control("delete volume", uuid):
            found = self._need(uuid, "delete volume")
            with self._alone(self._names(found)):
                with suppress(OSError):  # full: then without the note
                    _write_note(found)
                entry = f"{self._trash}/{common.trash_name(found.record.uuid)}"
                self._journal.commit([Move(found.path, entry), *self._counted_again(found.name)])

    def list_trash(self) -> list[TrashedVolume]:
        """Return what lies in the trash, oldest first. Looks at every file in it."""
        with translated_oserror(operation="list trash of", subject=self._root):
            found = [self._trashed(entry) for entry in _entries(self._trash)]
        return sorted(found, key=lambda volume: volume.id)

    def restore_volume(self, trash_id: str, name: str | None = None) -> Volume:
        """Move a volume out of the trash, under its old name or another, with its buckets.

        Raises:
            VolumeNotFound: it is not in the trash, or its tenant is not there.
            VolumeExists: the name is taken, or a volume has its uuid.
            InvalidArgument: its name was not recorded and none is given, or a bucket would become
                a tenant.
            QuotaExceeded: its tenant's quota has no room for it.
        """
        with self._control("restore volume", repr(trash_id)):
            entry = self._need_trashed(trash_id)
            note = _read_note(entry)
            if name is None and "name" not in note:
                raise InvalidArgument(
                    "its name was not recorded", field="name", operation="restore", subject=trash_id
                )
            new_name = str(note["name"]) if name is None else name
            parts = split_volume_name(new_name)
            if "name" in note:
                self._require_same_kind(str(note["name"]), new_name, "restore volume")
            record = layout.read_volume_file(entry, subject=trash_id)
            path = self._require_free(new_name, "restore volume")
            trashed = Found(entry, new_name, record)
            self._refuse_duplicates([trashed, *volumes_in(entry, f"{new_name}/")])
            self._require_room(trashed, new_name)
            self._make_fences(new_name)
            restored = Found(path, new_name, replace(record, name=parts[-1]))
            with self._alone(self._names(trashed)):
                self._journal.commit(
                    [
                        Move(entry, path),
                        Write(
                            restored.own(layout.VOLUME_FILE), format_volume_file(restored.record)
                        ),
                        Unlink(restored.own(_NOTE)),
                        *self._counted_again(new_name),
                    ]
                )
            return self._volume(restored)

    def empty_trash(self, *, older_than: timedelta, dry_run: bool = True) -> list[TrashedVolume]:
        """Destroy, unless *dry_run*, what has been in the trash for longer; return what that is.

        What a live volume is a clone of goes, too: on directories a clone needs no origin. What
        has no recorded time is never old.
        """
        if older_than < timedelta(0):
            raise InvalidArgument("must not be negative", field="older_than")
        with self._control("empty trash of", self._root), self._journal.aside() as work:
            limit = datetime.now(UTC) - older_than
            chosen = []
            for volume in self.list_trash():
                if volume.trashed_at is not None and volume.trashed_at <= limit:
                    chosen.append(volume)
                    if not dry_run:
                        doomed = f"{work}/{len(chosen)}"
                        self._journal.commit([Move(f"{self._trash}/{volume.id}", doomed)])
        return chosen

    def plan_destroy(self, uuid: str) -> DestroyPlan:
        """Return what ``destroy_volume`` would remove. Looks at every file in it.

        Raises:
            HasDependents: it cannot be destroyed; says what depends on it.
        """
        with translated_oserror(operation="plan to destroy volume", subject=uuid):
            inside = self._settled(lambda: self._destroyable(uuid))
            names = []
            for volume in reversed(inside):
                names += [f"{volume.name}@{s.name}" for s in self._snapshots(volume)]
                names.append(volume.name)
            return DestroyPlan(tuple(names), directory_trees.disk_usage(inside[0].path).own_bytes)

    def destroy_volume(self, uuid: str) -> None:
        """Destroy a volume with its snapshots, and a tenant with its buckets, for good."""
        with self._control("destroy volume", uuid), self._journal.aside() as work:
            found = self._destroyable(uuid)[0]
            with self._alone(self._names(found)):
                steps = [Move(found.path, f"{work}/doomed"), *self._counted_again(found.name)]
                self._journal.commit(steps)

    def _destroyable(self, uuid: str) -> list[Found]:
        """Return a volume and its buckets, of which nothing outside is a clone."""
        inside = self._with_buckets(self._need(uuid, "destroy volume"))
        snapshots = [snapshot for volume in inside for snapshot in self._snapshots(volume)]
        self._refuse_dependents(snapshots, "destroy volume", inside[0].name, inside)
        return inside

    def _names(self, found: Found, name: str | None = None) -> list[str]:
        """Return the names of a volume and its buckets, as they are when it is called *name*."""
        own = found.name if name is None else name
        if "/" in own:
            return [own]
        buckets = volumes_in(found.path, f"{own}/")
        return [own, *(bucket.name for bucket in buckets)]

    def _require_same_kind(self, old: str, new: str, operation: str) -> None:
        if ("/" in old) != ("/" in new):
            raise InvalidArgument(
                "a bucket cannot become a tenant, nor a tenant a bucket",
                field="new_name",
                operation=operation,
                subject=f"{old} to {new}",
            )

    def _require_room(self, found: Found, new_name: str) -> None:
        """Raise QuotaExceeded when a bucket that comes to a tenant does not fit."""
        tenant, slash, _bucket = new_name.partition("/")
        path = self._path((tenant,))
        if not slash or os.path.dirname(found.path) == path:
            return
        limit = layout.read_volume_file(path, subject=tenant).size_bytes
        if limit is None:
            return
        used = UsageCounter(path, limit, subject=tenant).used_bytes()
        coming, _is_quiet = stored_bytes(found.path)
        if used + coming > limit:
            raise QuotaExceeded(
                f"its {coming} bytes do not fit: {used} of {limit} are in use",
                limit_bytes=limit,
                used_bytes=used,
                operation="move bucket to tenant",
                subject=tenant,
                hint="raise the tenant's quota",
            )

    def _refuse_duplicates(self, coming: list[Found]) -> None:
        present = {found.record.uuid: found.name for found in self._walk()}
        for found in coming:
            if found.record.uuid in present:
                raise VolumeExists(
                    f"{present[found.record.uuid]} has the same uuid",
                    operation="restore volume",
                    subject=found.name,
                )

    def _need_trashed(self, trash_id: str) -> str:
        if trash_id not in _entries(self._trash):
            raise VolumeNotFound(
                "nothing in the trash has this id",
                operation="restore volume",
                subject=repr(trash_id)[:100],
                hint="list the trash",
            )
        return f"{self._trash}/{trash_id}"

    def _trashed(self, entry: str) -> TrashedVolume:
        path = f"{self._trash}/{entry}"
        note = _read_note(path)
        uuid = ""
        with suppress(StorageError, OSError):
            uuid = layout.read_volume_file(path, subject=entry).uuid
        return TrashedVolume(
            id=entry,
            uuid=uuid,
            name=str(note.get("name", "")),
            trashed_at=_trashed_at(entry),
            used_bytes=directory_trees.disk_usage(path).used_bytes,
        )


def _entries(trash: str) -> list[str]:
    with suppress(FileNotFoundError):
        return [entry for entry in os.listdir(trash) if is_volume(f"{trash}/{entry}")]
    return []


def _trashed_at(entry: str) -> datetime | None:
    match = _STAMP.fullmatch(entry)
    if match is None:
        return None
    with suppress(ValueError):
        return datetime.strptime(match[1], "%Y%m%dt%H%M%S.%fz").replace(tzinfo=UTC)
    return None


def _write_note(found: Found) -> None:
    with durable_file(found.own(_NOTE)) as file:
        note = {"name": found.name, "trashed_at": datetime.now(UTC).isoformat()}
        file.write(json.dumps(note).encode())


def _read_note(path: str) -> Mapping[str, Any]:
    with suppress(OSError, ValueError), open(f"{path}/{_NOTE}", "rb") as file:
        value = json.loads(file.read(64 * 1024))
        if isinstance(value, dict):
            return value
    return {}
