"""``zfsstore export``: volumes that NFS clients may read."""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING, Any, Final

from modules.errors import Conflict, InvalidArgument, NotSupported
from zfsstore.cli.confirmation import add_dry_run, done
from zfsstore.cli.output import Output
from zfsstore.cli.parsers import OK, Commands, add_command, add_group
from zfsstore.cli.session import services
from zfsstore.cli.targets import add_volume, backend_of

if TYPE_CHECKING:
    from modules.volumes import Volume
    from zfsstore.exports import Export, Exported
    from zfsstore.exports.base import Run
    from zfsstore.host.services import Services

OPTIONS: Final = ("ro", "sync", "no_subtree_check", "root_squash", "crossmnt", "mountpoint")


def add_parser(commands: Commands) -> None:
    """Add the group."""
    group = add_group(
        commands,
        "export",
        "NFS exports: add, remove, list, show",
        """\
NFS exports of volumes on ZFS, read-only: a client that could write would change objects behind the
back of their keys. Needs root and the NFS server's exportfs.""",
    )
    add = add_command(
        group,
        "add",
        run_add,
        summary="let NFS clients read a volume",
        description="""\
Export a volume's directory over NFS, durably and read-only; again changes clients and options.
Clients see files/, where the bucket is published, and .zfs/snapshot/. Handles stay valid after
reboots, promotes and roll-backs. Refused for a plain directory: what lies beside it could be
reached, too.""",
        example="zfsstore export add acme/photos --client 10.0.0.0/8",
    )
    add_volume(add)
    add.add_argument(
        "--client",
        action="append",
        required=True,
        metavar="CLIENT",
        help="host, address, network, @netgroup or *.domain; may be repeated",
    )
    add.add_argument(
        "--option",
        action="append",
        default=[],
        metavar="OPTION",
        help=f"of exports(5), beside {','.join(OPTIONS)}; may be repeated",
    )
    add.add_argument(
        "--sharenfs",
        action="store_true",
        help="set the dataset's property instead of writing to /etc/exports.d",
    )
    add_dry_run(add)
    remove = add_command(
        group,
        "remove",
        run_remove,
        summary="withdraw a volume from NFS clients",
        description="Withdraw a volume from all NFS clients. What they have open is gone for them.",
        example="zfsstore export remove acme/photos",
    )
    add_volume(remove)
    add_dry_run(remove)
    add_command(
        group,
        "list",
        run_list,
        summary="list all exported volumes",
        description="List the volumes that are exported, with clients and options.",
        example="zfsstore export list",
    )
    show = add_command(
        group,
        "show",
        run_show,
        summary="show one volume's export",
        description="Show what NFS clients mount, who may, and with which options.",
        example="zfsstore export show acme/photos",
    )
    add_volume(show)


def find_exported(opened: Services, volumes: list[Volume]) -> dict[str, list[Exported]]:
    """Return what is exported of these volumes, by their uuids."""
    from zfsstore.exports import file_exports, sharenfs_exports

    found = list(file_exports())
    if any(_is_file_system(_path(opened, volume)) for volume in _one_of_each(opened, volumes)):
        found += sharenfs_exports(_run())
    exported: dict[str, list[Exported]] = {}
    wanted = {volume["uuid"] for volume in volumes}
    for entry in found:
        if entry.fsid in wanted:
            exported.setdefault(entry.fsid, []).append(entry)
    return exported


def refuse_exported(opened: Services, name: str, *, operation: str) -> None:
    """Make sure that neither a volume nor, for a tenant, a bucket of it is exported.

    Raises:
        Conflict: one is.
    """
    below = f"{name}/"
    listed = opened.volumes.list_volumes(name.partition("/")[0])
    chosen = [row for row in listed if row["name"] == name or row["name"].startswith(below)]
    exported = find_exported(opened, chosen)
    for volume in chosen:
        if volume["uuid"] in exported:
            raise Conflict(
                "it is exported over NFS",
                operation=operation,
                subject=volume["name"],
                hint=f"withdraw it first: `zfsstore export remove {volume['name']}`",
            )


def run_add(args: argparse.Namespace, output: Output) -> int:
    """Export a volume."""
    from zfsstore.exports import FileExports, SharenfsExports

    options = _options(args.option)
    run = _run()
    exports = (
        SharenfsExports(run, args.client, options=options)
        if args.sharenfs
        else FileExports(run, args.client, options=options)
    )
    with services(args) as opened:
        export = _export(opened, args.volume, run)
        if not args.dry_run:
            exports.export(export)
    data = {
        "volume": args.volume,
        "path": export.path,
        "by": "sharenfs" if args.sharenfs else "files",
        "clients": args.client,
        "options": list(options),
        "dry_run": args.dry_run,
    }
    clients = ", ".join(args.client)
    text = f"{done(args, 'export', 'exported')} {args.volume} to {clients}: mount {export.path}"
    output.text(text, data)
    return OK


def run_remove(args: argparse.Namespace, output: Output) -> int:
    """Withdraw a volume's exports."""
    from zfsstore.exports import FileExports, SharenfsExports
    from zfsstore.exports.base import flush_kernel

    run = _run()
    with services(args) as opened:
        entries = _entries(opened, args.volume, operation="withdraw export of volume")
        if not args.dry_run:
            export = _export(opened, args.volume, run)
            for entry in entries:
                ways = {"files": FileExports, "sharenfs": SharenfsExports}
                with ways[entry.by](run, ()).withdrawn(export):
                    pass
            flush_kernel(run)
    data = {
        "volume": args.volume,
        "removed": [_to_dict(entry) for entry in entries],
        "dry_run": args.dry_run,
    }
    output.text(f"{done(args, 'withdraw', 'withdrew')} the export of {args.volume}", data)
    return OK


def run_list(args: argparse.Namespace, output: Output) -> int:
    """List exported volumes."""
    with services(args) as opened:
        volumes = opened.volumes.list_volumes()
        exported = find_exported(opened, volumes)
    rows: list[dict[str, Any]] = [
        {"volume": volume["name"], **_to_dict(entry)}
        for volume in volumes
        for entry in exported.get(volume["uuid"], [])
    ]
    output.table(
        ["VOLUME", "BY", "CLIENTS"],
        [(row["volume"], row["by"], " ".join(row["rules"])) for row in rows],
        rows,
    )
    return OK


def run_show(args: argparse.Namespace, output: Output) -> int:
    """Show one volume's export."""
    with services(args) as opened:
        entries = _entries(opened, args.volume, operation="show export of volume")
        path = _path(opened, opened.volumes.get_volume(args.volume))
    data = {
        "volume": args.volume,
        "path": path,
        "fsid": entries[0].fsid,
        "exports": [_to_dict(entry) for entry in entries],
    }
    facts: dict[str, object] = {"volume": args.volume, "path": path, "fsid": entries[0].fsid}
    facts |= {entry.by: " ".join(entry.rules) for entry in entries}
    output.facts(facts, data)
    return OK


def _entries(opened: Services, name: str, *, operation: str) -> list[Exported]:
    volume = opened.volumes.get_volume(name)
    entries = find_exported(opened, [volume]).get(volume["uuid"])
    if not entries:
        raise Conflict(
            "it is not exported",
            operation=operation,
            subject=name,
            hint="see `zfsstore export list`",
        )
    return entries


def _export(opened: Services, name: str, run: Run) -> Export:
    """Return a volume as it is to be exported.

    Raises:
        NotSupported: it is no file system of its own.
    """
    from zfsstore.exports import Export

    volume = opened.volumes.get_volume(name)
    path = _path(opened, volume)
    if not _is_file_system(path):
        raise NotSupported(
            "it is a plain directory, and clients could reach what lies beside it",
            capability="exports",
            operation="export volume",
            subject=name,
            hint="keep the tenant on ZFS",
        )
    dataset = run(["zfs", "list", "-H", "-o", "name", path], "find dataset of volume", name)
    return Export(name, volume["uuid"], dataset.strip(), path, volume["uuid"])


def _options(extra: list[str]) -> tuple[str, ...]:
    """Return the options with those of the user, which may contradict all but read-only.

    Raises:
        InvalidArgument: one is none that can be chosen.
    """
    from zfsstore.exports import check_export_options

    if "rw" in extra:
        raise InvalidArgument(
            "objects can only be exported read-only",
            field="--option",
            operation="export volume",
            hint="write over HTTP; a client that writes to files would change stored objects",
        )
    check_export_options(extra)
    denied = {f"no_{option}" for option in extra} | {option.removeprefix("no_") for option in extra}
    kept = [option for option in OPTIONS if option not in denied]
    return (*kept, *(option for option in extra if option not in kept))


def _one_of_each(opened: Services, volumes: list[Volume]) -> list[Volume]:
    """Return one volume of each storage module: all of a module's are datasets, or none."""
    of_tenants = {volume["name"].partition("/")[0]: volume for volume in volumes}
    of_backends = {id(backend_of(opened, name)): row for name, row in of_tenants.items()}
    return list(of_backends.values())


def _path(opened: Services, volume: Volume) -> str:
    handle = backend_of(opened, volume["name"]).access_handle(volume["uuid"])
    return str(handle.get("path", ""))


def _is_file_system(path: str) -> bool:
    return bool(path) and os.path.ismount(path)


def _to_dict(entry: Exported) -> dict[str, Any]:
    return {"by": entry.by, "fsid": entry.fsid, "rules": list(entry.rules)}


def _run() -> Run:
    from zfsstore.backend.lookup import Commands as ZfsCommands

    return ZfsCommands().run
