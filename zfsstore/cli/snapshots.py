"""``zfsstore snapshot``: buckets and tenants as they were."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from modules.errors import HasDependents, SnapshotExists
from zfsstore.cli.confirmation import add_dry_run, add_yes, confirm, done
from zfsstore.cli.output import Output, format_size, format_time
from zfsstore.cli.parsers import OK, Commands, add_command, add_group
from zfsstore.cli.session import services
from zfsstore.cli.targets import (
    SnapshotName,
    add_snapshot,
    add_volume,
    find_snapshot,
    no_such_snapshot,
)

if TYPE_CHECKING:
    from zfsstore.host.services import Services
    from zfsstore.host.volumes import VolumeSnapshot


def add_parser(commands: Commands) -> None:
    """Add the group."""
    group = add_group(
        commands,
        "snapshot",
        "snapshots: create, list, delete, roll back",
        """\
A snapshot is a volume as it was at one moment. It takes no time and, at first, no space. Clients
read it with ?snapshot=NAME at the end of an address.""",
    )
    create = add_command(
        group,
        "create",
        run_create,
        summary="freeze a bucket, or a tenant with all its buckets",
        description="""\
Freeze a bucket as it is, or a tenant with all its buckets: on ZFS all at one and the same moment,
on plain directories one after another. Clients notice nothing; what was acknowledged is in it.""",
        example="zfsstore snapshot create acme/photos monday\nzfsstore snapshot create acme monday",
    )
    add_volume(create)
    create.add_argument("name", metavar="NAME", help="letters, digits, spaces and _ . : -")
    add_dry_run(create)
    listing = add_command(
        group,
        "list",
        run_list,
        summary="list the snapshots of a bucket, or of a tenant and its buckets",
        description="List snapshots by volume, oldest first. USED is what deleting one would free.",
        example="zfsstore snapshot list acme/photos",
    )
    add_volume(listing)
    _add_destroying(group)


def _add_destroying(group: Commands) -> None:
    delete = add_command(
        group,
        "delete",
        run_delete,
        summary="destroy a snapshot, for good",
        description="""\
Destroy a snapshot of a bucket; of a tenant, those of its buckets with the same name, too. The
bucket itself stays as it is. Refused while a clone depends on it.""",
        example="zfsstore snapshot delete acme/photos@monday --yes",
    )
    add_snapshot(delete)
    add_yes(delete)
    add_dry_run(delete)
    rollback = add_command(
        group,
        "rollback",
        run_rollback,
        summary="make a bucket what it was at a snapshot",
        description="""\
Make a bucket what it was at a snapshot. What was stored, changed and deleted since is lost; take
a snapshot and clone it first if in doubt. Refused while there are newer snapshots, unless
--destroy-newer says that these go, too. A running host is made to let go of the bucket first:
clients are told to come back (503) while this lasts.""",
        example="zfsstore snapshot rollback acme/photos@monday --dry-run\n"
        "zfsstore snapshot rollback acme/photos@monday --yes",
    )
    add_snapshot(rollback)
    rollback.add_argument(
        "--destroy-newer", action="store_true", help="destroy newer snapshots, too"
    )
    add_yes(rollback)
    add_dry_run(rollback)


def snapshot_to_dict(row: VolumeSnapshot) -> dict[str, Any]:
    """Return a snapshot as JSON."""
    created_at = row.created_at
    return {
        "volume": row.volume,
        "name": row.name,
        "uuid": row.uuid,
        "used_bytes": row.size_bytes,
        "created_at": None if created_at is None else format_time(created_at),
    }


def run_create(args: argparse.Namespace, output: Output) -> int:
    """Freeze a volume."""
    with services(args) as opened:
        if args.dry_run:
            data: list[Any] = [
                {"volume": volume, "name": args.name} for volume in _would_freeze(opened, args)
            ]
        else:
            made = opened.volumes.create_snapshot(args.volume, args.name)
            data = [snapshot_to_dict(row) for row in made]
    verb = done(args, "create", "created")
    lines = [f"{verb} snapshot {row['volume']}@{row['name']}" for row in data]
    output.text("\n".join(lines), {"created": data, "dry_run": args.dry_run})
    return OK


def _would_freeze(opened: Services, args: argparse.Namespace) -> list[str]:
    from zfsstore.zfs.names import check_short_name

    check_short_name(args.name, field="snapshot")
    taken = {
        row.volume for row in opened.volumes.list_snapshots(args.volume) if row.name == args.name
    }
    if taken:
        raise SnapshotExists(
            "there is one already",
            operation="create snapshot",
            subject=f"{min(taken)}@{args.name}",
        )
    below = f"{args.volume}/"
    names = [row["name"] for row in opened.volumes.list_volumes(args.volume.partition("/")[0])]
    return [name for name in names if name == args.volume or name.startswith(below)]


def run_list(args: argparse.Namespace, output: Output) -> int:
    """List snapshots."""
    with services(args) as opened:
        rows = [snapshot_to_dict(row) for row in opened.volumes.list_snapshots(args.volume)]
    output.table(
        ["SNAPSHOT", "CREATED", "USED"],
        [
            (
                f"{row['volume']}@{row['name']}",
                row["created_at"] or "-",
                format_size(row["used_bytes"]),
            )
            for row in rows
        ],
        rows,
    )
    return OK


def run_delete(args: argparse.Namespace, output: Output) -> int:
    """Destroy a snapshot, after it was confirmed."""
    name: SnapshotName = args.snapshot
    with services(args) as opened:
        rows = [r for r in opened.volumes.list_snapshots(name.volume) if r.name == name.snapshot]
        if not rows:
            raise no_such_snapshot(name, operation="delete snapshot")
        if not args.dry_run:
            plan = [f"this destroys {row.volume}@{row.name}" for row in rows]
            confirm(args, str(name), operation="delete snapshot", plan=plan)
            rows = opened.volumes.delete_snapshot(name.volume, name.snapshot)
    verb = done(args, "delete", "deleted")
    lines = [f"{verb} snapshot {row.volume}@{row.name}" for row in rows]
    data = {"deleted": [f"{row.volume}@{row.name}" for row in rows], "dry_run": args.dry_run}
    output.text("\n".join(lines), data)
    return OK


def run_rollback(args: argparse.Namespace, output: Output) -> int:
    """Roll a bucket back, after it was confirmed."""
    name: SnapshotName = args.snapshot
    with services(args) as opened:
        find_snapshot(opened, name, operation="roll back to snapshot")
        own = [
            r.name for r in opened.volumes.list_snapshots(name.volume) if r.volume == name.volume
        ]
        newer = own[own.index(name.snapshot) + 1 :]
        if newer and not args.destroy_newer:
            raise HasDependents(
                f"it has {len(newer)} newer snapshots ({', '.join(newer[:5])})",
                operation="roll back",
                subject=str(name),
                hint="add --destroy-newer to destroy these, or clone the snapshot instead",
            )
        if not args.dry_run:
            plan = [f"this destroys {name.volume}@{other}" for other in newer]
            plan.append(f"and what was stored in {name.volume} since {name.snapshot}")
            confirm(args, str(name), operation="roll back", plan=plan)
            opened.volumes.rollback(name.volume, name.snapshot, destroy_newer=args.destroy_newer)
    verb = done(args, "roll back", "rolled back")
    lines = [f"{verb} {name.volume} to {name.snapshot}"]
    lines += [f"{done(args, 'destroy', 'destroyed')} {name.volume}@{other}" for other in newer]
    data = {
        "name": name.volume,
        "snapshot": name.snapshot,
        "destroyed": [f"{name.volume}@{other}" for other in newer],
        "dry_run": args.dry_run,
    }
    output.text("\n".join(lines), data)
    return OK
