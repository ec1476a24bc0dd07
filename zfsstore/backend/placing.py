"""Where volumes are: making them there, moving them, and letting one take another's place.

Each call either does all of it or takes back what it did.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace

from modules.errors import Busy, Conflict, HasDependents, NotFound, VolumeExists
from zfsstore.backend.lookup import Lookup, named_errors, undone
from zfsstore.backend.publishing import Publication, Publisher
from zfsstore.backend.rows import FSID, VolumeRow
from zfsstore.backend.settings import Settings
from zfsstore.exports import Export
from zfsstore.volumes.common import new_uuid
from zfsstore.volumes.datasets import UUID
from zfsstore.zfs.snapshot_commands import destroy_argv


class Placement:
    """Makes, moves, swaps and removes datasets together with their mounts and exports.

    The caller has the turn.
    """

    def __init__(self, settings: Settings, lookup: Lookup, publisher: Publisher) -> None:
        self._settings = settings
        self._lookup = lookup
        self._publisher = publisher
        self._zfs = lookup.commands

    def bring_up(
        self,
        operation: str,
        name: str,
        make: Callable[[Mapping[str, str]], None],
        publication: Publication | None,
        *,
        uuid: str | None = None,
        prepare: Callable[[Export], None] | None = None,
        is_kept: Callable[[], bool] | None = None,
    ) -> str:
        """Make a dataset with the properties that *make* is given, and publish it; or neither.

        Args:
            operation: as in "cannot OPERATION NAME".
            name: of the new volume.
            make: given the mountpoint and uuid, which it must set in the creating command.
            publication: in place of what is configured.
            uuid: of the new volume; a new one when None.
            prepare: called when it is mounted, and not exported yet.
            is_kept: asked when this fails, whether what there is of it stays.

        Returns:
            The new volume's uuid.
        """
        uuid, path = uuid or new_uuid(), self._settings.path(name)
        export = Export(
            name=name, uuid=uuid, dataset=self._settings.dataset(name), path=path, fsid=uuid
        )
        with undone(lambda: self._unmake(export, is_kept), f"{operation} {name}"):
            with named_errors(operation, name):
                self._refuse_occupied(path, by=export.dataset)
                make({"mountpoint": path, UUID: uuid})
            if prepare is not None:
                prepare(export)
            self._publisher.publish(export, publication)
            self._lookup.known[uuid] = name
        return uuid

    def destroy(self, row: VolumeRow, *, recursive: bool, force: bool) -> NotFound | None:
        """Withdraw the export, then destroy the dataset; export it again when that fails.

        Returns:
            The error when somebody else has destroyed it.
        """
        argv = destroy_argv(row.dataset, recursive=recursive, force=force)
        return self._destroy([row], argv, row.name)

    def destroy_dependents(
        self, target: str, *, force: bool = False, only_volumes: bool = False
    ) -> None:
        """Destroy a dataset or snapshot with all that depends on it, clones too, and exports.

        Args:
            target: its full name.
            force: unmount what is in use.
            only_volumes: refuse when that would destroy a dataset that is no volume.

        Raises:
            HasDependents: it would.
        """
        doomed = self._dependents(target)
        rows = [row for row in self._lookup.walk() if row.dataset in doomed]
        known = {target.partition("@")[0], *(row.dataset for row in rows)}
        others = {
            name for name in doomed if not any(f"{name}/".startswith(f"{own}/") for own in known)
        }
        if only_volumes and others:
            raise HasDependents(
                f"{', '.join(sorted(others))} would be destroyed, too",
                operation="destroy",
                subject=target,
                hint="move or destroy it first",
            )
        gone = self._destroy(rows, destroy_argv(target, dependents=True, force=force), target)
        if gone is not None:
            raise gone

    def _dependents(self, target: str) -> set[str]:
        """Return the datasets that ``zfs destroy -R`` of a dataset or snapshot destroys."""
        if "@" not in target:
            plan = self._zfs.plan_destroy(target, dependents=True)
            return {name.partition("@")[0] for name in plan.names}
        argv = ["zfs", "get", "-H", "-o", "value", "clones", target]  # no plan says them
        clones = self._zfs.run(argv, "list clones of", target).rstrip("\n")
        return {
            name
            for clone in clones.split(",")
            if clone not in ("", "-")
            for name in self._dependents(clone)
        }

    def _destroy(
        self, rows: Sequence[VolumeRow], argv: Sequence[str], subject: str
    ) -> NotFound | None:

        def destroy() -> None:
            self._zfs.run(argv, "destroy volume", subject)

        gone = None
        with ExitStack() as steps:
            for row in rows:
                steps.enter_context(self._publisher.exports.withdrawn(row.export()))
            try:
                self._publisher.patiently(destroy)
            except NotFound as error:
                gone = error
        for row in rows:
            self._lookup.forget(row)
            self._remove_directory(row.mountpoint)
        return gone

    def move(self, row: VolumeRow, path: str) -> None:
        """Mount the volume at *path*, unless it is: a remount would evict kernel exports."""
        current = self.mountpoint(row)
        if current == path:
            return
        self._refuse_occupied(path)
        try:
            self._zfs.set(row.dataset, {"mountpoint": path})
        except Busy:
            with self._publisher.exports.withdrawn(row.export(path=current)):
                self._set_mountpoint(row, path)
        self._remove_directory(current)

    def mountpoint(self, row: VolumeRow) -> str:
        """Return where ZFS mounts the volume."""
        argv = ["zfs", "get", "-H", "-o", "value", "mountpoint", row.dataset]
        return self._zfs.run(argv, "get mountpoint of volume", row.name).rstrip("\n")

    def rename_in_place(self, row: VolumeRow, new_name: str) -> None:
        """Rename the dataset and leave its mount alone."""
        dataset = self._settings.dataset(new_name)
        with self._renamed(row, dataset):
            renamed = self._lookup.at(dataset)
            if renamed.mountpoint != row.mountpoint:  # an inherited one
                self._set_mountpoint(renamed, row.mountpoint)
            self._publisher.exports.renamed(row.export(), renamed.export(path=row.mountpoint))

    def rename_and_move(self, row: VolumeRow, new_name: str) -> None:
        """Rename the dataset and mount it where a new volume of that name would be."""
        path = self._settings.path(new_name)
        self._refuse_occupied(path, by=self._settings.dataset(new_name))
        renamed = replace(row, dataset=self._settings.dataset(new_name), mountpoint=path)
        exports = self._publisher.exports
        is_exported = exports.is_exported(row.export())
        with exports.withdrawn(row.export()), self._renamed(row, renamed.dataset):
            self._set_mountpoint(renamed, path)
            with undone(lambda: self._set_mountpoint(renamed, row.mountpoint), f"move to {path}"):
                if is_exported:
                    exports.export(renamed.export())
        self._remove_directory(row.mountpoint)

    def swap(
        self, old: VolumeRow, new: VolumeRow, publication: Publication | None, fsid: str | None
    ) -> None:
        """Let *new* take the name, path, fsid and export of *old*, and *old* those of *new*.

        With *fsid*, *new* is exported under that one in place of the fsid of *old*.
        """
        exports = self._publisher.exports
        was_exported = exports.is_exported(new.export())
        aside = f"{old.dataset}.swap-{secrets.token_hex(4)}"
        new_in_place, old_in_place = _in_place_of(new, old, fsid), _in_place_of(old, new)
        with ExitStack() as steps:
            for row in (old, new):
                steps.enter_context(exports.withdrawn(row.export()))
            for row in (old, new):
                steps.enter_context(self._unmounted(row))
            steps.enter_context(self._renamed(old, aside))
            steps.enter_context(self._renamed(new, old.dataset))
            steps.enter_context(self._renamed(replace(old, dataset=aside), new.dataset))
            for row, place in ((old, old_in_place), (new, new_in_place)):
                steps.enter_context(self._placed(row, place))
            for place in (old_in_place, new_in_place):
                steps.enter_context(self._mounted(place))
            if was_exported:
                exports.export(old_in_place.export())
            self._publisher.publish(new_in_place.export(), publication)

    @contextmanager
    def _renamed(self, row: VolumeRow, dataset: str) -> Iterator[None]:
        """Give the dataset another name; its own again when the block fails."""
        self._zfs.rename(row.dataset, dataset, remount=False)
        back = f"rename {dataset} to {row.dataset}"
        with undone(lambda: self._zfs.rename(dataset, row.dataset, remount=False), back):
            yield

    @contextmanager
    def _unmounted(self, row: VolumeRow) -> Iterator[None]:
        """Unmount the dataset; mount it again when the block fails."""
        self._publisher.patiently(lambda: self._zfs.unmount(row.dataset))
        with undone(lambda: self._zfs.mount(row.dataset), f"mount {row.dataset}"):
            yield

    @contextmanager
    def _mounted(self, row: VolumeRow) -> Iterator[None]:
        """Mount the dataset; unmount it again when the block fails."""
        self._zfs.mount(row.dataset)
        with undone(lambda: self._zfs.unmount(row.dataset), f"mount {row.dataset}"):
            yield

    @contextmanager
    def _placed(self, row: VolumeRow, place: VolumeRow) -> Iterator[None]:
        """Set path and fsid of the unmounted *place*; those of *row* when the block fails."""
        self._zfs.set(place.dataset, _place_properties(place))
        with undone(
            lambda: self._zfs.set(place.dataset, _place_properties(row)), f"move {place.dataset}"
        ):
            yield

    def _set_mountpoint(self, row: VolumeRow, path: str) -> None:
        self._publisher.patiently(lambda: self._zfs.set(row.dataset, {"mountpoint": path}))

    def _unmake(self, export: Export, is_kept: Callable[[], bool] | None) -> None:
        """Destroy what was just made, unless it is kept or something else has its name."""
        if is_kept is not None and is_kept():
            return
        try:
            row = self._lookup.at(export.dataset)
        except NotFound:
            return
        if row.uuid == export.uuid:
            self.destroy(replace(row, mountpoint=export.path), recursive=False, force=True)

    def _remove_directory(self, path: str) -> None:
        """Remove the empty directory that a volume was mounted on, and empty ones above it."""
        while path.startswith(f"{self._settings.srv_root}/"):
            try:
                os.rmdir(path)
            except OSError:
                return
            path = os.path.dirname(path)

    def _refuse_occupied(self, path: str, *, by: str | None = None) -> None:
        """Raise when something is mounted at *path*: the volume would hide it.

        Raises:
            VolumeExists: the dataset that is to be there, *by*, exists.
            Conflict: it is something else.
        """
        if not os.path.ismount(path):
            return
        with suppress(NotFound):
            if by is not None and self._lookup.at(by):
                raise VolumeExists("it exists already", operation="make volume", subject=by)
        raise Conflict(
            "something else is mounted there",
            operation="mount volume at",
            subject=path,
            hint="unmount or move it, or choose another name",
        )


def _in_place_of(row: VolumeRow, other: VolumeRow, fsid: str | None = None) -> VolumeRow:
    return replace(
        row, dataset=other.dataset, mountpoint=other.mountpoint, fsid=fsid or other.export().fsid
    )


def _place_properties(row: VolumeRow) -> dict[str, str]:
    return {"mountpoint": row.mountpoint, FSID: row.export().fsid}
