"""Directory volumes: where they are, which one has a uuid, and who may change them just now."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from modules import fences
from modules.durable import make_directories
from modules.errors import (
    HasDependents,
    StorageError,
    VolumeExists,
    VolumeNotFound,
    translated_oserror,
)
from modules.volumes import CloneOrigin, Volume
from zfsstore import layout
from zfsstore.layout import VolumeRecord
from zfsstore.volumes import common, delete_fence
from zfsstore.volumes.directory_journal import Journal, Step, Unlink
from zfsstore.volumes.directory_records import SnapshotRecord, read_origin, snapshots_of
from zfsstore.volumes.usage import UsageCounter
from zfsstore.zfs.names import decode_component, encode_component, split_volume_name

_log = logging.getLogger(__name__)
_Result = TypeVar("_Result")

_LOOKS: Final = 3


@dataclass(frozen=True, slots=True)
class Found:
    """A volume: where it lies, what it is called, and its record."""

    path: str
    name: str
    record: VolumeRecord
    is_reachable: bool = True

    @property
    def is_bucket(self) -> bool:
        """True below a tenant."""
        return "/" in self.name

    def own(self, path: str) -> str:
        """Return *path* (of zfsstore.layout) inside the volume."""
        return f"{self.path}/{path}"


class DirectoryBase:
    """What all calls stand on.

    Args:
        root: an existing directory with the root volume's layout.
        instance: whose object directories to create.
    """

    patience_s: float = fences.PATIENCE_S
    """How long to wait for those who use a volume, in seconds."""

    def __init__(self, root: str, instance: str) -> None:
        self._root = root
        self._instance = instance
        self._journal = Journal(root)
        self._trash = f"{root}/{layout.TRASH}"

    def _path(self, parts: tuple[str, ...]) -> str:
        return "/".join((self._root, *map(encode_component, parts)))

    def _need(self, uuid: str, operation: str) -> Found:
        found = self._find(uuid)
        if found is None:
            raise common.no_such_volume(uuid, operation=operation)
        return found

    def _find(self, uuid: str) -> Found | None:
        wanted = common.parse_uuid(uuid)
        if wanted is None:
            return None
        return next((found for found in self._walk() if found.record.uuid == wanted), None)

    def _named(self, name: str, operation: str) -> Found:
        split_volume_name(name)
        for found in self._walk():
            if found.name == name:
                return found
        raise VolumeNotFound("it does not exist", operation=operation, subject=name)

    def _walk(self) -> Iterator[Found]:
        """Yield tenants, each before its buckets, in the order of their directories' names."""
        for tenant in volumes_in(self._root, ""):
            yield tenant
            yield from self._buckets_of(tenant)

    def _buckets_of(self, tenant: Found) -> Iterator[Found]:
        if not tenant.is_bucket:
            yield from volumes_in(tenant.path, f"{tenant.name}/")

    def _with_buckets(self, found: Found) -> list[Found]:
        return [found, *self._buckets_of(found)]

    def _snapshots(self, found: Found) -> list[SnapshotRecord]:
        """Return the volume's snapshots, oldest first."""
        return snapshots_of(found.path, subject=found.name)

    def _owners(self) -> dict[str, tuple[Found, SnapshotRecord]]:
        """Return every live volume's snapshots by uuid."""
        return {
            snapshot.uuid: (found, snapshot)
            for found in self._walk()
            for snapshot in self._snapshots(found)
        }

    def _clones(self) -> dict[str, list[Found]]:
        """Return the live volumes that are clones, by the uuid of the snapshot they are made of."""
        clones: dict[str, list[Found]] = {}
        for found in self._walk():
            if (origin := read_origin(found.path)) is not None:
                clones.setdefault(origin, []).append(found)
        return clones

    def _refuse_dependents(
        self, snapshots: list[SnapshotRecord], operation: str, subject: str, but: list[Found]
    ) -> None:
        """Raise HasDependents when a volume outside of *but* is a clone of one of *snapshots*."""
        clones = self._clones()
        inside = {found.record.uuid for found in but}
        for snapshot in snapshots:
            outside = [f.name for f in clones.get(snapshot.uuid, ()) if f.record.uuid not in inside]
            if outside:
                raise HasDependents(
                    f"{', '.join(outside)} is made of its snapshot {snapshot.name!r}",
                    operation=operation,
                    subject=subject,
                    hint="promote or delete the clone first",
                )

    def _volume(self, found: Found) -> Volume:
        return self._volumes_of([found])[0]

    def _volumes_of(self, volumes: list[Found]) -> list[Volume]:
        origins = [read_origin(found.path) for found in volumes]
        owners = self._owners() if any(origins) else {}
        result = []
        for found, origin in zip(volumes, origins, strict=True):
            clone = None
            if origin is not None and origin in owners:
                parent, snapshot = owners[origin]
                clone = CloneOrigin(parent_volume=parent.name, parent_snapshot=snapshot.name)
            result.append(_to_dict(found, clone))
        return result

    def _counted_again(self, *names: str) -> list[Step]:
        """Return the steps after which the usage of these buckets' tenants is counted again.

        When it is next asked for. An upload in flight just then may be missed until a sweep.
        """
        tenants = {name.partition("/")[0] for name in names if "/" in name}
        files = [f"{self._path((tenant,))}/{layout.USAGE}" for tenant in sorted(tenants)]
        return [Unlink(file) for file in files if os.path.exists(file)]

    def _require_free(self, name: str, operation: str) -> str:
        """Return where a new volume of that name goes.

        Raises:
            InvalidName, VolumeExists, VolumeNotFound: there is no such tenant.
        """
        parts = split_volume_name(name)
        path = self._path(parts)
        if len(parts) > 1 and not is_volume(self._path(parts[:1])):
            raise VolumeNotFound(
                f"the tenant {parts[0]!r} does not exist",
                operation=operation,
                subject=name,
                hint="create the tenant first",
            )
        if os.path.lexists(path):
            reason = "it exists already" if is_volume(path) else f"{path} is in the way"
            raise VolumeExists(reason, operation=operation, subject=name)
        return path

    def _make_fences(self, name: str) -> None:
        """Create a new volume's fences in good time: in a full file system there is no new file."""
        for path in self._fences([name]):
            fences.create(path)
            fences.create(delete_fence.path_of(path))

    def _fences(self, names: list[str]) -> list[Path]:
        return [layout.fence_path(self._root, name) for name in names]

    def _alone(self, names: list[str]) -> AbstractContextManager[None]:
        """Be alone in the volumes of these names, there already or not."""
        return fences.exclusive(self._fences(names), patience_s=self.patience_s)

    def _settled(self, read: Callable[[], _Result]) -> _Result:
        """Return what *read* finds when no change is under way; one that is unfinished is finished.

        Raises:
            StorageError: what was unfinished cannot be finished.
        """
        for _ in range(_LOOKS):
            before = self._journal.generation()
            if before is None:
                break
            failure: OSError | StorageError | None = None
            try:
                result = read()
            except (OSError, StorageError) as error:
                failure = error
            if self._journal.generation() == before:
                if failure is not None:
                    raise failure
                return result
        with self._control("read volumes of", self._root):
            return read()

    @contextmanager
    def _control(self, operation: str, subject: str) -> Iterator[None]:
        """Hold off all other changes; what a killed process left is finished first."""
        with (
            translated_oserror(operation=operation, subject=subject, not_found=VolumeNotFound),
            common.control_lock(self._root),
        ):
            make_directories(self._trash, mode=0o700)  # while there is space
            self._journal.recover()
            yield


def volumes_in(parent: str, prefix: str) -> Iterator[Found]:
    """Yield the volumes that are directories of *parent*, in the order of the directories."""
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
        yield Found(path, prefix + (name or component), record, name is not None)


def is_volume(path: str) -> bool:
    """Return whether a complete volume is there."""
    return os.path.exists(f"{path}/{layout.VOLUME_FILE}")


def format_volume_file(record: VolumeRecord) -> str:
    """Return the content of volume.json."""
    return json.dumps(record.to_dict(), indent=1, ensure_ascii=False) + "\n"


def _to_dict(found: Found, clone: CloneOrigin | None) -> Volume:
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
        is_read_only=record.is_read_only is True,
        clone=clone,
    )
