"""``zfsstore volume``: the volumes of tenants and buckets."""

from __future__ import annotations

import argparse
from typing import Any

from zfsstore.cli import properties, streams
from zfsstore.cli.confirmation import add_dry_run, add_yes, confirm, done
from zfsstore.cli.exports import refuse_exported
from zfsstore.cli.output import Output, format_size
from zfsstore.cli.parsers import OK, Commands, add_command, add_group
from zfsstore.cli.session import services
from zfsstore.cli.targets import add_volume, backend_of, require_free, volume_to_dict
from zfsstore.cli.values import parse_quota

_BUSY = """\
A running host is made to let go of it first; clients are told to come back (503) while this
lasts."""


def add_parser(commands: Commands) -> None:
    """Add the group."""
    group = add_group(
        commands,
        "volume",
        "volumes: list, show, rename, resize, destroy, properties, send, receive",
        """\
Each tenant has a volume, "acme", and each of its buckets one, "acme/photos": a ZFS dataset, or
a directory where there is no ZFS.""",
    )
    _add_reading(group)
    _add_changing(group)
    properties.add_commands(group)
    streams.add_commands(group)


def _add_reading(group: Commands) -> None:
    volume_list = add_command(
        group,
        "list",
        run_list,
        summary="list all volumes, or one tenant's",
        description="List volumes by name: what they use, their quotas, what they are clones of.",
        example="zfsstore volume list acme",
    )
    volume_list.add_argument("tenant", metavar="TENANT", nargs="?", help="default: all tenants")
    show = add_command(
        group,
        "show",
        run_show,
        summary="show one volume",
        description="Show one volume: where it lies, what it uses, how many snapshots it has.",
        example="zfsstore volume show acme/photos",
    )
    add_volume(show)


def _add_changing(group: Commands) -> None:
    rename = add_command(
        group,
        "rename",
        run_rename,
        summary="rename a bucket or a tenant",
        description=f"""\
Rename a bucket, also into another tenant of the same storage module, or a tenant with all its
buckets; snapshots go along.
{_BUSY}
An exported volume is refused: clients would lose it.""",
        example="zfsstore volume rename acme/photos acme/pictures",
    )
    add_volume(rename)
    rename.add_argument("new_name", metavar="NEW", help="as in acme/pictures")
    add_dry_run(rename)
    resize = add_command(
        group,
        "resize",
        run_resize,
        summary="change a quota",
        description="""\
Change the quota of a tenant, which all its buckets share, or of a bucket. Never below what is
used; none takes it away (ZFS). Clients notice nothing.""",
        example="zfsstore volume resize acme 2TiB",
    )
    add_volume(resize)
    resize.add_argument("size", metavar="SIZE", type=parse_quota, help="such as 500GiB, or none")
    add_dry_run(resize)
    destroy = add_command(
        group,
        "destroy",
        run_destroy,
        summary="destroy a bucket with its snapshots, for good",
        description=f"""\
Destroy a bucket with all its objects and snapshots, for good. Nothing goes to the trash; what
clients delete does. Refused while a clone depends on one of its snapshots, or while it is
exported.
{_BUSY}
A tenant is deleted with `zfsstore tenant delete`, and destroyed by emptying the trash.""",
        example="zfsstore volume destroy acme/photos --dry-run\n"
        "zfsstore volume destroy acme/photos --yes",
    )
    add_volume(destroy, text="a bucket, as in acme/photos")
    add_yes(destroy)
    add_dry_run(destroy)


def run_list(args: argparse.Namespace, output: Output) -> int:
    """List volumes."""
    with services(args) as opened:
        rows = [volume_to_dict(row) for row in opened.volumes.list_volumes(args.tenant)]
    output.table(
        ["VOLUME", "USED", "QUOTA", "STATE", "CLONE OF"],
        [
            (
                row["name"],
                format_size(row["used_bytes"]),
                format_size(row["quota_bytes"]),
                _state(row),
                row["clone_of"] or "-",
            )
            for row in rows
        ],
        rows,
    )
    return OK


def run_show(args: argparse.Namespace, output: Output) -> int:
    """Show one volume."""
    with services(args) as opened:
        volume = opened.volumes.get_volume(args.volume)
        snapshots = opened.volumes.list_snapshots(args.volume)
        path = backend_of(opened, args.volume).access_handle(volume["uuid"]).get("path")
    data = volume_to_dict(volume) | {
        "path": path,
        "snapshots": sum(row.volume == args.volume for row in snapshots),
    }
    facts = {
        "name": data["name"],
        "uuid": data["uuid"],
        "state": _state(data),
        "used": format_size(data["used_bytes"]),
        "quota": format_size(data["quota_bytes"]),
        "clone of": data["clone_of"],
        "path": data["path"],
        "snapshots": data["snapshots"],
    }
    output.facts(facts, data)
    return OK


def run_rename(args: argparse.Namespace, output: Output) -> int:
    """Rename a volume."""
    old, new = args.volume, args.new_name
    with services(args) as opened:
        if args.dry_run:
            opened.volumes.get_volume(old)
            require_free(opened, new, like=old, operation="rename volume to")
        refuse_exported(opened, old, operation="rename volume")
        if not args.dry_run:
            opened.volumes.rename(old, new)
    data = {"name": new, "renamed_from": old, "dry_run": args.dry_run}
    output.text(f"{done(args, 'rename', 'renamed')} {old} to {new}", data)
    return OK


def run_resize(args: argparse.Namespace, output: Output) -> int:
    """Change a volume's quota."""
    with services(args) as opened:
        before = opened.volumes.get_volume(args.volume)["size_bytes"]
        if not args.dry_run:
            properties.set_quota(opened, args.volume, args.size)
    data = {
        "name": args.volume,
        "quota_bytes": args.size,
        "quota_bytes_before": before,
        "dry_run": args.dry_run,
    }
    change = f"from {format_size(before)} to {format_size(args.size)}"
    verb = done(args, "change", "changed")
    output.text(f"{verb} the quota of {args.volume} {change}", data)
    return OK


def run_destroy(args: argparse.Namespace, output: Output) -> int:
    """Destroy a bucket, after its plan was shown and confirmed."""
    with services(args) as opened:
        plan = opened.volumes.plan_destroy(args.volume)
        refuse_exported(opened, args.volume, operation="destroy volume")
        verb = done(args, "destroy", "destroyed")
        lines = [f"{verb} {name}" for name in plan.names]
        lines.append(f"{done(args, 'free', 'freed')} {format_size(plan.reclaim_bytes)}")
        data: dict[str, Any] = {
            "name": args.volume,
            "destroyed": list(plan.names),
            "reclaim_bytes": plan.reclaim_bytes,
            "dry_run": args.dry_run,
        }
        if not args.dry_run:
            asked = [f"this destroys {name}" for name in plan.names]
            asked.append(f"and frees {format_size(plan.reclaim_bytes)}")
            confirm(args, args.volume, operation="destroy volume", plan=asked)
            opened.volumes.destroy(args.volume)
    output.text("\n".join(lines), data)
    return OK


def _state(row: dict[str, Any]) -> str:
    return f"{row['state']}, read-only" if row["read_only"] else str(row["state"])
