"""The client's calls about file systems: life and properties."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from modules.errors import AlreadyExists
from modules.volumes import DestroyPlan
from zfsstore.zfs import commands
from zfsstore.zfs import snapshot_commands as argvs
from zfsstore.zfs.client_base import several
from zfsstore.zfs.client_lists import ListCalls
from zfsstore.zfs.commands import Dataset
from zfsstore.zfs.names import check_any_name, check_dataset_name, check_snapshot_name
from zfsstore.zfs.properties import check_properties, check_property_name, check_property_names


class DatasetCalls(ListCalls):
    """File systems and their properties."""

    def create(
        self,
        dataset: str,
        properties: Mapping[str, str] | None = None,
        *,
        parents: bool = False,
        mount: bool = True,
    ) -> None:
        """Create a file system, and mount it.

        Args:
            dataset: its name.
            properties: set in the creating command.
            parents: create those above it that are missing; then one that exists is no error.
            mount: False leaves it unmounted.

        Raises:
            AlreadyExists, NotFound: it, or not its parent, exists.
            PermissionDenied: also when it was created but could not be mounted.
        """
        check_properties(properties or {})
        argv = commands.create_argv(
            check_dataset_name(dataset), properties or {}, parents=parents, mount=mount
        )
        self._run(argv, "create dataset", dataset)

    def create_if_absent(self, dataset: str, properties: Mapping[str, str]) -> None:
        """Create a file system unless it exists."""
        try:
            self.create(dataset, properties)
        except AlreadyExists:
            return

    def destroy(
        self,
        dataset: str,
        *,
        recursive: bool = False,
        dependents: bool = False,
        force: bool = False,
    ) -> None:
        """Destroy a file system, for good.

        Args:
            dataset: its name; snapshots and bookmarks have calls of their own.
            recursive: with its snapshots and all below it.
            dependents: with the clones of its snapshots, wherever they are.
            force: unmount by force, which on Linux does not help while a file is open.

        Raises:
            NotFound: there is none.
            HasDependents: it has children or snapshots, or those have clones.
            Busy: a file in it is open, or a snapshot is held.
        """
        argv = argvs.destroy_argv(
            check_dataset_name(dataset), recursive=recursive, dependents=dependents, force=force
        )
        self._run(argv, "destroy dataset", dataset)

    def plan_destroy(
        self, dataset: str, *, recursive: bool = False, dependents: bool = False
    ) -> DestroyPlan:
        """Return what :meth:`destroy` would destroy, and how much that would free.

        Two commands: ZFS tells the bytes only of snapshots that are destroyed. ``used`` of a
        dataset holds its children and snapshots, and what only its clones share with them.

        Raises:
            HasDependents, NotFound: as :meth:`destroy` would.
        """
        argv = argvs.destroy_argv(
            check_dataset_name(dataset), recursive=recursive, dependents=dependents, dry_run=True
        )
        stdout = self._run(argv, "plan to destroy dataset", dataset)
        plan = argvs.parse_destroy_plan(stdout, argv=argv)
        tops = argvs.topmost_datasets(plan.names)
        listed = self.list_datasets(tops, ("used",), types=("filesystem", "volume"))
        return DestroyPlan(plan.names, sum(one.number("used") or 0 for one in listed))

    def get(
        self, datasets: Sequence[str], properties: Sequence[str], *, depth: int | None = None
    ) -> list[Dataset]:
        """Return file systems, and those *depth* levels below each, with their properties.

        One command for any number, which says where each value comes from. The order is that of
        zfs: parents before children.

        Raises:
            NotFound: one of *datasets* does not exist.
        """
        for dataset in datasets:
            check_dataset_name(dataset)
        check_property_names(properties)
        argv = commands.get_argv(datasets, properties, depth=depth)
        return commands.parse_get(self._run(argv, "list datasets of", several(datasets)), argv=argv)

    def set(self, dataset: str, properties: Mapping[str, str]) -> None:
        """Set properties of a file system.

        Raises:
            QuotaBelowUsage: a quota is less than what is in use.
            InvalidArgument: ZFS knows no such property, or not this value of it.
        """
        self._set(check_dataset_name(dataset), properties)

    def set_on_snapshot(self, snapshot: str, properties: Mapping[str, str]) -> None:
        """Set user properties of a snapshot.

        Raises:
            SnapshotNotFound: there is none.
        """
        self._set(check_snapshot_name(snapshot), properties)

    def inherit(
        self, dataset: str, name: str, *, recursive: bool = False, received: bool = False
    ) -> None:
        """Remove a property's own value, so that it is inherited or the default again.

        Args:
            dataset: whose.
            name: of the property.
            recursive: of all below it, too.
            received: go back to the value that came with a stream, if any.
        """
        argv = commands.inherit_argv(
            check_any_name(dataset),
            check_property_name(name),
            recursive=recursive,
            received=received,
        )
        self._run(argv, "inherit property of", dataset)

    def rename(
        self,
        dataset: str,
        new_name: str,
        *,
        parents: bool = False,
        force: bool = False,
        remount: bool = True,
    ) -> None:
        """Rename a file system with all below it; what is mounted is mounted anew.

        Args:
            dataset: its present name.
            new_name: in the same pool.
            parents: create the datasets above the new name that are missing.
            force: unmount by force, which on Linux does not help while a file is open.
            remount: False leaves mounts where they are.

        Raises:
            NotFound, AlreadyExists: there is none, or not the new parent; the new name is taken.
            Busy: a file in it is open.
        """
        argv = commands.rename_argv(
            check_dataset_name(dataset),
            check_dataset_name(new_name),
            parents=parents,
            force=force,
            remount=remount,
        )
        self._run(argv, "rename dataset", dataset)

    def _set(self, name: str, properties: Mapping[str, str]) -> None:
        check_properties(properties)
        self._run(commands.set_argv(name, properties), "set properties of", name)
