"""``zfsstore keys``: the keys of encrypting modules: make, list, rotate, destroy."""

from __future__ import annotations

import argparse
import json
import os
from typing import TYPE_CHECKING, Any

from modules.errors import HasDependents, NotSupported
from zfsstore.cli import key_rewrap
from zfsstore.cli.confirmation import add_dry_run, add_yes, confirm, done
from zfsstore.cli.encrypting import Encrypting
from zfsstore.cli.output import Output, format_time
from zfsstore.cli.parsers import OK, Commands, Parser, add_command, add_group
from zfsstore.cli.session import services

if TYPE_CHECKING:
    from modules.wrappers.keys import KeyRecord
    from zfsstore.host.services import Services


def add_parser(commands: Commands) -> None:
    """Add the group."""
    group = add_group(
        commands,
        "keys",
        "keys of encrypted tenants: init, list, rotate-root, rotate, rewrap, shred",
        "Keys of encrypting modules: a root key wraps the tenants' keys, which wrap the objects'.",
    )
    _add_init(group)
    listing = add_command(
        group,
        "list",
        run_list,
        summary="list the tenants' keys of a module",
        description="""\
List the keys of all volumes, with the root key that wraps each. No key itself is shown. A
key without a volume belongs to one that is in the trash, was destroyed, or is elsewhere.""",
        example="zfsstore keys list vault",
    )
    _add_module(listing)
    _add_rotate_root(group)
    _add_rotate(group)
    key_rewrap.add_command_to(group)
    _add_shred(group)


def _add_init(group: Commands) -> None:
    init = add_command(
        group,
        "init",
        run_init,
        summary="make a key table, and a key file with a root key",
        description="""\
Make a key table, and a key file with a new random root key (mode 0600), and print the value
of the argument "keys" for `module put`. Nothing that exists is touched: an existing key file
is used as it is. Keep a copy of the key file elsewhere: without it all is lost. Both belong
outside of the volumes, and the copies of the two apart from each other.""",
        example="zfsstore keys init --table /var/lib/zfsstore/keys.db "
        "--key-file /etc/zfsstore/root.key",
    )
    init.add_argument("--table", required=True, metavar="FILE", help="the key table to make")
    init.add_argument(
        "--key-file", required=True, metavar="FILE", help="the root key, made when absent"
    )


def _add_rotate_root(group: Commands) -> None:
    rotate = add_command(
        group,
        "rotate-root",
        run_rotate_root,
        summary="wrap all tenants' keys with the newest root key",
        description="""\
Wrap every tenant's key anew that an older root key wraps. Takes moments, touches no object, and
can be repeated after an interruption. With --new-version the module's key file gets a new
random version first. When it is through, `keys list` shows one root key; older ones, and all
their copies, can be destroyed then.""",
        example="zfsstore keys rotate-root vault --new-version",
    )
    _add_module(rotate)
    rotate.add_argument(
        "--new-version", action="store_true", help="add a version to the key file first"
    )


def _add_rotate(group: Commands) -> None:
    rotate = add_command(
        group,
        "rotate",
        run_rotate,
        summary="give a tenant new keys for its new objects",
        description="""\
Give a volume, a tenant with its buckets, or a key domain a new key. Objects stored from now on
(other processes: within a minute) use it; older objects stay readable with the older key. Not a
remedy for a leaked key: what it encrypted has to be stored again.""",
        example="zfsstore keys rotate vault acme",
    )
    _add_module(rotate)
    _add_targets(rotate)


def _add_shred(group: Commands) -> None:
    shred = add_command(
        group,
        "shred",
        run_shred,
        summary="destroy a tenant's keys: what it stored is unreadable for good",
        description="""\
Destroy all keys of a volume, a tenant with its buckets, or a key domain. All that was encrypted
with them becomes unreadable for good, also in snapshots, replicas and backups; running processes
forget the keys within a minute. Refused while a clone elsewhere has the same keys: name the key
domain then. Copies of the key table still hold them: destroy these,
or rotate the root key afterwards and destroy the older root key.""",
        example="zfsstore keys shred vault acme --dry-run\n"
        "zfsstore keys shred vault --domain 0f3c5a7781b24c5d9e6f708192a3b4c5 --yes",
    )
    _add_module(shred)
    _add_targets(shred)
    add_dry_run(shred)
    add_yes(shred)


def _add_module(parser: Parser) -> None:
    parser.add_argument("module", metavar="MODULE", help="an encrypting module, by its name")


def _add_targets(parser: Parser) -> None:
    parser.add_argument(
        "volume", metavar="VOLUME", nargs="?", help="as in acme (with its buckets) or acme/photos"
    )
    parser.add_argument("--domain", metavar="ID", help="a key domain, from `zfsstore keys list`")


def run_init(args: argparse.Namespace, output: Output) -> int:
    """Make a key file and a key table."""
    from modules.wrappers.keys import open_key_ring
    from modules.wrappers.keys.config import create_absent
    from modules.wrappers.keys.table import KeyTable

    table, path = os.path.abspath(args.table), os.path.abspath(args.key_file)
    root = {"provider": "file", "path": path}
    made = create_absent(KeyTable(table), root)
    keys = {"table": table, "root": root}
    open_key_ring(keys).check()
    text = f'"keys": {json.dumps(keys)}'
    output.text(text, {"keys": keys, "created": made})
    return OK


def run_list(args: argparse.Namespace, output: Output) -> int:
    """List keys."""
    with services(args) as opened:
        target = Encrypting.open(opened, args.module)
        names = target.volumes_by_domain()
        rows = [_to_dict(record, names) for record in target.ring.list_keys()]
    output.table(
        ["VOLUMES", "DOMAIN", "VERSION", "STATE", "ROOT KEY", "CREATED"],
        [
            (
                ", ".join(row["volumes"]) or "-",
                row["key_domain"],
                row["version"],
                row["state"],
                row["root"] or "-",
                row["created_at"],
            )
            for row in rows
        ],
        rows,
    )
    return OK


def run_rotate_root(args: argparse.Namespace, output: Output) -> int:
    """Wrap all keys with the newest root key."""
    with services(args) as opened:
        target = Encrypting.open(opened, args.module)
        version = None
        if args.new_version:
            from modules.wrappers.keys.keyfile import add_root_key

            version = add_root_key(_key_file(opened, args.module))
            target = Encrypting.open(opened, args.module)
        count = target.ring.rotate_root()
        root = target.ring.root_in_use()
    text = f"wrapped {count} keys with the root key {root}"
    output.text(text, {"rewrapped": count, "root": root, "new_version": version})
    return OK


def run_rotate(args: argparse.Namespace, output: Output) -> int:
    """Give domains a new key."""
    with services(args) as opened:
        target = Encrypting.open(opened, args.module)
        domains = target.domains(args, operation="rotate keys of")
        names = target.volumes_by_domain()
        rows = [_to_dict(target.ring.rotate(domain), names) for domain in domains]
    lines = [f"{row['key_domain']}: version {row['version']} is active" for row in rows]
    output.text("\n".join(lines), rows)
    return OK


def run_shred(args: argparse.Namespace, output: Output) -> int:
    """Destroy the keys of domains, after it was confirmed."""
    with services(args) as opened:
        target = Encrypting.open(opened, args.module)
        domains = target.domains(args, operation="destroy keys of")
        names = target.volumes_by_domain()
        volumes = sorted({name for domain in domains for name in names.get(domain, [])})
        _refuse_others(args, volumes)
        if not args.dry_run:
            plan = [
                f"this makes all of {name} unreadable for good, with its snapshots and copies"
                for name in volumes or domains
            ]
            confirm(args, args.volume or args.domain, operation="destroy keys of", plan=plan)
            for domain in domains:
                target.ring.shred(domain)
    verb = done(args, "destroy", "destroyed")
    text = f"{verb} the keys of {', '.join(volumes) or ', '.join(domains)}"
    data = {"key_domains": domains, "volumes": volumes, "dry_run": args.dry_run}
    output.text(text, data)
    return OK


def _refuse_others(args: argparse.Namespace, volumes: list[str]) -> None:
    """Refuse to destroy what the user did not name: clones elsewhere have the same keys.

    Raises:
        HasDependents: there are such.
    """
    if args.volume is None:
        return
    below = f"{args.volume}/"
    others = [name for name in volumes if name != args.volume and not name.startswith(below)]
    if others:
        raise HasDependents(
            f"{', '.join(others)} has the same keys, as a clone or its origin",
            operation="destroy keys of",
            subject=args.volume,
            hint="to destroy them for all of these, name the key domain with --domain",
        )


def _key_file(opened: Services, name: str) -> str:
    root = opened.catalog.get_module(name).args.get("keys", {}).get("root", {})
    path = root.get("path")
    if root.get("provider") != "file" or not isinstance(path, str):
        raise NotSupported(
            "its root key is in no key file",
            capability="new version",
            operation="rotate root key of",
            subject=name,
            hint="make the new version where the root key is, then leave out --new-version",
        )
    return path


def _to_dict(record: KeyRecord, names: dict[str, list[str]]) -> dict[str, Any]:
    destroyed = record.destroyed_at
    return {
        "id": record.id.hex(),
        "key_domain": record.key_domain,
        "volumes": names.get(record.key_domain, []),
        "version": record.version,
        "state": record.state.value,
        "root": record.root or None,
        "created_at": format_time(record.created_at),
        "destroyed_at": None if destroyed is None else format_time(destroyed),
    }
