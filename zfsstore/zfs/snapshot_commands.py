"""The argv of the commands about snapshots, clones, holds, bookmarks, and what they print.

Names are checked before they get here (zfsstore.zfs.names); none can begin with "-".
Source: zfs-snapshot(8), zfs-clone(8), zfs-promote(8), zfs-rollback(8), zfs-hold(8),
zfs-bookmark(8), zfs-destroy(8), zfs-rename(8).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from modules.errors import CommandFailed
from modules.volumes import DestroyPlan


@dataclass(frozen=True, slots=True)
class Hold:
    """A tag that keeps a snapshot from being destroyed."""

    snapshot: str
    tag: str
    created_at: datetime | None
    """None before OpenZFS 2.2, which gives it in local time only."""


def options(properties: Mapping[str, str]) -> list[str]:
    """Return ``-o name=value`` for each property."""
    return [part for name, value in properties.items() for part in ("-o", f"{name}={value}")]


def flags(**chosen: bool) -> list[str]:
    """Return ``-x`` for each letter that is chosen."""
    return [f"-{letter}" for letter, is_chosen in chosen.items() if is_chosen]


def snapshot_argv(
    snapshots: Sequence[str], properties: Mapping[str, str], *, recursive: bool = False
) -> list[str]:
    """Return the command that takes all *snapshots* in one transaction group, or none."""
    return ["zfs", "snapshot", *flags(r=recursive), *options(properties), *snapshots]


def clone_argv(
    snapshot: str, dataset: str, properties: Mapping[str, str], *, parents: bool = False
) -> list[str]:
    """Return the command that makes *dataset* a writable copy of *snapshot*."""
    return ["zfs", "clone", *flags(p=parents), *options(properties), snapshot, dataset]


def promote_argv(dataset: str) -> list[str]:
    """Return the command that makes the clone independent of its origin."""
    return ["zfs", "promote", dataset]


def rollback_argv(
    snapshot: str, *, destroy_newer: bool = False, destroy_clones: bool = False, force: bool = False
) -> list[str]:
    """Return the command that reverts a dataset to *snapshot*."""
    return ["zfs", "rollback", *flags(r=destroy_newer, R=destroy_clones, f=force), snapshot]


def destroy_argv(
    name: str,
    *,
    recursive: bool = False,
    dependents: bool = False,
    force: bool = False,
    defer: bool = False,
    dry_run: bool = False,
) -> list[str]:
    """Return the command that destroys a dataset, snapshots ``D@a,b`` or a bookmark.

    With *dry_run*, one that prints what it would do, for :func:`parse_destroy_plan`.
    """
    return [
        *("zfs", "destroy", *(["-nvp"] if dry_run else [])),
        *flags(r=recursive, R=dependents, f=force, d=defer),
        name,
    ]


def rename_snapshot_argv(snapshot: str, new_name: str, *, recursive: bool = False) -> list[str]:
    """Return the command that renames *snapshot*; both are full names."""
    return ["zfs", "rename", *flags(r=recursive), snapshot, new_name]


def hold_argv(tag: str, snapshots: Sequence[str], *, recursive: bool = False) -> list[str]:
    """Return the command that puts *tag* on all *snapshots*, or on none."""
    return ["zfs", "hold", *flags(r=recursive), tag, *snapshots]


def release_argv(tag: str, snapshots: Sequence[str], *, recursive: bool = False) -> list[str]:
    """Return the command that takes *tag* off all *snapshots*, or off none."""
    return ["zfs", "release", *flags(r=recursive), tag, *snapshots]


def holds_argv(
    snapshots: Sequence[str], *, recursive: bool = False, exact: bool = True
) -> list[str]:
    """Return the command that prints the holds; *exact*: times as numbers, from OpenZFS 2.2."""
    return ["zfs", "holds", "-Hp" if exact else "-H", *flags(r=recursive), *snapshots]


def bookmark_argv(source: str, bookmark: str) -> list[str]:
    """Return the command that bookmarks a snapshot, or copies a bookmark."""
    return ["zfs", "bookmark", source, bookmark]


def parse_destroy_plan(stdout: str, *, argv: Sequence[str] = ()) -> DestroyPlan:
    """Return the plan that ``zfs destroy -nvp`` printed.

    Raises:
        CommandFailed: a line is not understood.
    """
    names: list[str] = []
    reclaim = 0
    for key, value in _columns(stdout, 2, argv):
        if key == "destroy":
            names.append(value)
        elif key == "reclaim" and value.isdigit():
            reclaim = int(value)
        else:
            raise not_understood(f"{key}\t{value}", argv)
    return DestroyPlan(tuple(names), reclaim)


def topmost_datasets(names: Iterable[str]) -> list[str]:
    """Return the datasets, not snapshots, of *names* that lie below no other of them, sorted."""
    datasets = {name for name in names if "@" not in name and "#" not in name}

    def has_ancestor(name: str) -> bool:
        parents = name.split("/")
        return any("/".join(parents[:depth]) in datasets for depth in range(1, len(parents)))

    return sorted(name for name in datasets if not has_ancestor(name))


def parse_holds(stdout: str, *, argv: Sequence[str] = ()) -> list[Hold]:
    """Return the holds that ``zfs holds -H`` printed, in its order, with or without -p.

    Raises:
        CommandFailed: a line has not three columns.
    """
    return [
        Hold(snapshot, tag, datetime.fromtimestamp(int(at), UTC) if at.isdigit() else None)
        for snapshot, tag, at in _columns(stdout, 3, argv)
    ]


def not_understood(line: str, argv: Sequence[str]) -> CommandFailed:
    """Return the error for a line of output that no version of ZFS is known to print."""
    return CommandFailed(
        f"its output is not understood: {line[:200]!r}",
        argv=argv,
        operation="run",
        subject=" ".join(argv[:2]) or "zfs",
    )


def _columns(stdout: str, count: int, argv: Sequence[str]) -> Iterable[list[str]]:
    for line in filter(None, stdout.split("\n")):
        columns = line.split("\t")
        if len(columns) != count:
            raise not_understood(line, argv)
        yield columns
