"""``zfsstore trash``: what clients deleted, until an operator empties it."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from modules.errors import NotFound, VolumeNotFound
from zfsstore.cli.confirmation import add_dry_run, add_yes, confirm, done
from zfsstore.cli.output import Output, format_size, format_time
from zfsstore.cli.parsers import OK, Commands, add_command, add_group
from zfsstore.cli.session import services
from zfsstore.cli.targets import require_free, volume_to_dict
from zfsstore.cli.values import parse_age

if TYPE_CHECKING:
    from collections.abc import Iterable

    from modules.volumes import TrashedVolume, Volume
    from zfsstore.host.services import Services


def add_parser(commands: Commands) -> None:
    """Add the group."""
    group = add_group(
        commands,
        "trash",
        "the trash: list, restore, empty",
        """\
A deleted bucket or tenant lies in the trash of its storage module, with its snapshots, until an
operator restores or destroys it.""",
    )
    add_command(
        group,
        "list",
        run_list,
        summary="list what was deleted",
        description="List what lies in the trash by storage module, oldest first.",
        example="zfsstore trash list",
    )
    restore = add_command(
        group,
        "restore",
        run_restore,
        summary="bring a deleted bucket or tenant back",
        description="""\
Bring a bucket, or a tenant with its buckets, back out of the trash, with data and snapshots. A
tenant's users stay deleted: create them again.""",
        example="zfsstore trash restore 20260102t030405.678901z-0d5f... --name acme/photos-old",
    )
    restore.add_argument("id", metavar="ID", help="from `zfsstore trash list`")
    restore.add_argument("--name", metavar="NAME", help="default: the name it had")
    add_dry_run(restore)
    empty = add_command(
        group,
        "empty",
        run_empty,
        summary="destroy what was deleted long ago, for good",
        description="""\
Destroy what has been in the trash for longer than --older-than, with its snapshots. What a bucket
outside is a clone of stays.""",
        example="zfsstore trash empty --older-than 7d --dry-run\n"
        "zfsstore trash empty --older-than 7d --yes",
    )
    empty.add_argument(
        "--older-than", type=parse_age, required=True, metavar="AGE", help="such as 7d or 24h"
    )
    add_yes(empty)
    add_dry_run(empty)


def entry_to_dict(module: str, entry: TrashedVolume) -> dict[str, Any]:
    """Return an entry as JSON."""
    at = entry.trashed_at
    return {
        "id": entry.id,
        "module": module,
        "name": entry.name,
        "uuid": entry.uuid,
        "trashed_at": None if at is None else format_time(at),
        "used_bytes": entry.used_bytes,
    }


def run_list(args: argparse.Namespace, output: Output) -> int:
    """List the trash."""
    with services(args) as opened:
        rows = [entry_to_dict(module, entry) for module, entry in _entries(opened)]
    output.table(
        ["ID", "NAME", "DELETED", "USED", "MODULE"],
        [
            (
                row["id"],
                row["name"],
                row["trashed_at"] or "-",
                format_size(row["used_bytes"]),
                row["module"],
            )
            for row in rows
        ],
        rows,
    )
    return OK


def run_restore(args: argparse.Namespace, output: Output) -> int:
    """Restore a volume."""
    with services(args) as opened:
        module, entry = _find(opened, args.id)
        name = args.name or entry.name
        data: dict[str, Any] = {"id": entry.id, "name": name, "dry_run": args.dry_run}
        if args.dry_run:
            require_free(opened, name, like=entry.name, operation="restore")
        else:
            volume = opened.volumes.restore(module, entry.id, args.name)
            data |= volume_to_dict(volume)
            _take_over_tenant(opened, module, volume)
    output.text(f"{done(args, 'restore', 'restored')} {data['name']}", data)
    return OK


def run_empty(args: argparse.Namespace, output: Output) -> int:
    """Destroy what is old, after it was confirmed."""
    with services(args) as opened:
        rows = list(_empty(opened, args, dry_run=True))
        if rows and not args.dry_run:
            plan = [
                f"this destroys {row['name']} ({format_size(row['used_bytes'])})" for row in rows
            ]
            confirm(args, "trash", operation="empty trash", plan=plan)
            rows = list(_empty(opened, args, dry_run=False))
    verb = done(args, "destroy", "destroyed")
    lines = [f"{verb} {row['name']}, {format_size(row['used_bytes'])}" for row in rows]
    text = "\n".join(lines) or "nothing is that old"
    output.text(text, {"destroyed": rows, "dry_run": args.dry_run})
    return OK


def _empty(
    opened: Services, args: argparse.Namespace, *, dry_run: bool
) -> Iterable[dict[str, Any]]:
    seen: set[str] = set()
    for module in opened.volumes.trash_modules():
        for entry in opened.volumes.empty_trash(
            module, older_than=args.older_than, dry_run=dry_run
        ):
            if entry.id not in seen:  # modules may share a trash
                seen.add(entry.id)
                yield entry_to_dict(module, entry)


def _entries(opened: Services) -> Iterable[tuple[str, TrashedVolume]]:
    seen: set[str] = set()
    for module in opened.volumes.trash_modules():
        for entry in opened.volumes.list_trash(module):
            if entry.id not in seen:
                seen.add(entry.id)
                yield module, entry


def _find(opened: Services, trash_id: str) -> tuple[str, TrashedVolume]:
    for module, entry in _entries(opened):
        if entry.id == trash_id:
            return module, entry
    raise VolumeNotFound(
        "there is nothing of this id in the trash",
        operation="restore",
        subject=trash_id,
        hint="see `zfsstore trash list`",
    )


def _take_over_tenant(opened: Services, module: str, volume: Volume) -> None:
    """Make a restored tenant known again, unless the catalog has it."""
    if "/" in volume["name"]:
        return
    try:
        opened.catalog.get_tenant(volume["name"])
    except NotFound:
        opened.administration.create_tenant(
            volume["name"], policy=module, quota_bytes=volume["size_bytes"]
        )
