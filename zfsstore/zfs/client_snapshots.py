"""The client's calls about snapshots, clones, holds and bookmarks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from modules.errors import InvalidArgument, InvalidName
from modules.volumes import DestroyPlan
from zfsstore.zfs import snapshot_commands as argvs
from zfsstore.zfs.client_base import CommandClient, several
from zfsstore.zfs.names import (
    check_bookmark_name,
    check_dataset_name,
    check_short_name,
    check_snapshot_name,
)
from zfsstore.zfs.properties import check_properties
from zfsstore.zfs.snapshot_commands import Hold

_HOLDS_EXACT_SINCE = (2, 2, 0)


class SnapshotCalls(CommandClient):
    """Snapshots, clones, holds and bookmarks. Names of snapshots are full: ``DATASET@NAME``."""

    def snapshot(
        self,
        snapshots: Sequence[str],
        properties: Mapping[str, str] | None = None,
        *,
        recursive: bool = False,
    ) -> None:
        """Take all *snapshots*, of datasets of one pool, at one moment, or none of them.

        Args:
            snapshots: at most one of a dataset. None at all is no command.
            properties: user properties of each.
            recursive: also of every dataset below each.

        Raises:
            SnapshotExists: one of them exists.
            NotFound: one of the datasets does not exist.
            QuotaExceeded, NoSpace: no room for so much as a snapshot.
        """
        _check_all(snapshots)
        check_properties(properties or {})
        if snapshots:
            argv = argvs.snapshot_argv(snapshots, properties or {}, recursive=recursive)
            self._run(argv, "create snapshot", several(snapshots))

    def clone(
        self,
        snapshot: str,
        dataset: str,
        properties: Mapping[str, str] | None = None,
        *,
        parents: bool = False,
    ) -> None:
        """Make *dataset* a writable copy of *snapshot*, and mount it.

        Args:
            snapshot: which depends on nothing; it cannot be destroyed while the clone is there.
            dataset: new, in the same pool.
            properties: set in the creating command.
            parents: create the datasets above it that are missing.

        Raises:
            AlreadyExists, NotFound: the dataset exists; the snapshot or its parent does not.
            PermissionDenied: also when it was made but could not be mounted.
        """
        check_snapshot_name(snapshot)
        check_dataset_name(dataset)
        check_properties(properties or {})
        argv = argvs.clone_argv(snapshot, dataset, properties or {}, parents=parents)
        self._run(argv, "clone snapshot", f"{snapshot} to {dataset}")

    def promote(self, dataset: str) -> None:
        """Let a clone take over its origin's snapshots up to the one it was made from.

        The dataset that it came from becomes a clone of it.

        Raises:
            InvalidArgument: it is no clone.
            SnapshotExists: both have a snapshot of the same name.
        """
        self._run(argvs.promote_argv(check_dataset_name(dataset)), "promote clone", dataset)

    def rollback(
        self,
        snapshot: str,
        *,
        destroy_newer: bool = False,
        destroy_clones: bool = False,
        force: bool = False,
    ) -> None:
        """Revert a dataset to *snapshot*, the newest one unless *destroy_newer*.

        Not safe while a file in the dataset is open: see docs/design.md.

        Args:
            snapshot: what to revert to.
            destroy_newer: destroy the snapshots and bookmarks made after it.
            destroy_clones: and the clones of those.
            force: unmount clones by force; no help on Linux while a file is open.

        Raises:
            SnapshotNotFound: no such snapshot.
            HasDependents: there are newer snapshots or bookmarks, or clones of them.
        """
        argv = argvs.rollback_argv(
            check_snapshot_name(snapshot),
            destroy_newer=destroy_newer,
            destroy_clones=destroy_clones,
            force=force,
        )
        self._run(argv, "roll back to snapshot", snapshot)

    def rename_snapshot(
        self, snapshot: str, new_short_name: str, *, recursive: bool = False
    ) -> None:
        """Rename a snapshot; with *recursive*, those of that name below its dataset, too.

        Raises:
            SnapshotNotFound, SnapshotExists: there is none; the new name is taken.
        """
        dataset = check_snapshot_name(snapshot).partition("@")[0]
        new_name = check_snapshot_name(f"{dataset}@{check_short_name(new_short_name)}")
        argv = argvs.rename_snapshot_argv(snapshot, new_name, recursive=recursive)
        self._run(argv, "rename snapshot", snapshot)

    def destroy_snapshots(
        self,
        dataset: str,
        short_names: Sequence[str],
        *,
        recursive: bool = False,
        defer: bool = False,
    ) -> None:
        """Destroy many snapshots of a dataset in one transaction group: all or none.

        Args:
            dataset: whose snapshots.
            short_names: what follows the "@" of each; one that does not exist is passed over
                when another does. None at all is no command.
            recursive: also those of that name below the dataset.
            defer: one that is held or has a clone goes when the last hold or clone does.

        Raises:
            SnapshotNotFound: none of them exists.
            HasDependents: one has a clone.
            Busy: one is held, or mounted and in use.
        """
        if short_names:
            name = _joined(dataset, short_names)
            argv = argvs.destroy_argv(name, recursive=recursive, defer=defer)
            self._run(argv, "destroy snapshot", f"{dataset}@{several(short_names)}")

    def plan_destroy_snapshots(
        self, dataset: str, short_names: Sequence[str], *, recursive: bool = False
    ) -> DestroyPlan:
        """Return what :meth:`destroy_snapshots` would destroy, and how much that would free."""
        if not short_names:
            return DestroyPlan((), 0)
        name = _joined(dataset, short_names)
        argv = argvs.destroy_argv(name, recursive=recursive, dry_run=True)
        operation, subject = "plan to destroy snapshot", f"{dataset}@{several(short_names)}"
        return argvs.parse_destroy_plan(self._run(argv, operation, subject), argv=argv)

    def hold(self, tag: str, snapshots: Sequence[str], *, recursive: bool = False) -> None:
        """Keep *snapshots* of one pool from being destroyed until *tag* is released: all or none.

        Raises:
            AlreadyExists: one has this tag already.
            SnapshotNotFound: one does not exist.
        """
        _check_all(snapshots)
        check_tag(tag)
        if snapshots:
            argv = argvs.hold_argv(tag, snapshots, recursive=recursive)
            self._run(argv, "hold snapshot", several(snapshots))

    def release(self, tag: str, snapshots: Sequence[str], *, recursive: bool = False) -> None:
        """Take *tag* off *snapshots*: of all or none.

        Raises:
            NotFound: one does not exist or has no such tag.
        """
        _check_all(snapshots)
        check_tag(tag)
        if snapshots:
            argv = argvs.release_argv(tag, snapshots, recursive=recursive)
            self._run(argv, "release snapshot", several(snapshots))

    def holds(self, snapshots: Sequence[str], *, recursive: bool = False) -> list[Hold]:
        """Return the holds of *snapshots*, in their order.

        Raises:
            SnapshotNotFound: one does not exist.
        """
        _check_all(snapshots)
        if not snapshots:
            return []
        exact = self._has(_HOLDS_EXACT_SINCE)
        argv = argvs.holds_argv(snapshots, recursive=recursive, exact=exact)
        return argvs.parse_holds(self._run(argv, "list holds of", several(snapshots)), argv=argv)

    def bookmark(self, source: str, short_name: str) -> None:
        """Bookmark the snapshot *source*, or copy the bookmark *source*, in the same dataset.

        A bookmark takes no space and can be the base of an incremental send.

        Raises:
            AlreadyExists, NotFound: the bookmark exists; the source does not.
        """
        if "#" in source:
            check_bookmark_name(source, field="source")
        else:
            check_snapshot_name(source, field="source")
        dataset = source.replace("#", "@").partition("@")[0]
        bookmark = check_bookmark_name(f"{dataset}#{check_short_name(short_name)}")
        self._run(argvs.bookmark_argv(source, bookmark), "create bookmark", bookmark)

    def destroy_bookmark(self, bookmark: str) -> None:
        """Destroy a bookmark.

        Raises:
            NotFound: there is none.
        """
        argv = argvs.destroy_argv(check_bookmark_name(bookmark))
        self._run(argv, "destroy bookmark", bookmark)


def _check_all(snapshots: Sequence[str]) -> None:
    if isinstance(snapshots, str):
        raise InvalidArgument("pass a list of names, not one name", field="snapshots")
    for snapshot in snapshots:
        check_snapshot_name(snapshot)


def check_tag(tag: str) -> None:
    """Make sure that *tag* can be one: no option, no "." before it, one line.

    Source: OpenZFS, cmd/zfs/zfs_main.c (zfs_do_hold_rele_impl); MAXNAMELEN.
    """
    valid = isinstance(tag, str) and tag.isprintable() and tag[:1] not in ("", ".", "-")
    if not valid or len(tag.encode(errors="replace")) > 255 or "\t" in tag:
        raise InvalidName(
            'a tag is up to 255 printable characters and begins with neither "." nor "-"',
            field="tag",
            operation="use tag",
            subject=f"{tag!r:.300}",
        )


def _joined(dataset: str, short_names: Sequence[str]) -> str:
    """Return ``DATASET@a,b,c``."""
    check_dataset_name(dataset)
    if isinstance(short_names, str):
        raise InvalidArgument("pass a list of names, not one name", field="short_names")
    for short_name in short_names:
        check_snapshot_name(f"{dataset}@{check_short_name(short_name)}")
    return f"{dataset}@{','.join(short_names)}"
