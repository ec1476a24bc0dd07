"""``zfsstore tenant``: who owns buckets, and which storage module holds them."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from modules.errors import InvalidArgument
from zfsstore.cli.confirmation import add_dry_run, done
from zfsstore.cli.output import Output, format_size
from zfsstore.cli.parsers import OK, Commands, add_command, add_group
from zfsstore.cli.properties import (
    add_key,
    parse_key,
    parse_property,
)
from zfsstore.cli.session import administration
from zfsstore.cli.values import parse_quota

if TYPE_CHECKING:
    from zfsstore.host.catalog import Tenant


def add_parser(commands: Commands) -> None:
    """Add the group."""
    group = add_group(
        commands,
        "tenant",
        "tenants: create, list, show, set, delete",
        "A tenant owns buckets; its policy names the storage module that holds them.",
    )
    create = add_command(
        group,
        "create",
        run_create,
        summary="create a tenant and its volume",
        description="""\
Create a tenant whose buckets go to the storage module POLICY. When the module keeps volumes,
the tenant's volume is created with the quota, which all its buckets share. A tenant can do
nothing until it has a user. On ZFS it can have properties of its own, which its buckets inherit,
and be encrypted: a key makes it so, for good. The key itself is kept nowhere: after a reboot,
`zfsstore volume unlock` needs it again.""",
        example="zfsstore tenant create acme --policy default --quota 500GiB\n"
        "zfsstore tenant create vault --policy tank --property compression=zstd \\\n"
        "    --key-file /run/keys/vault",
    )
    create.add_argument("name", metavar="NAME")
    create.add_argument(
        "--policy", required=True, metavar="MODULE", help="a name from `zfsstore module list`"
    )
    create.add_argument(
        "--quota", type=parse_quota, metavar="SIZE", help="such as 500GiB (default: no quota)"
    )
    _add_property(create)
    add_key(create)
    add_command(
        group,
        "list",
        run_list,
        summary="list all tenants",
        description="List all tenants by name, with policy and quota.",
        example="zfsstore tenant list --json",
    )
    show = add_command(
        group,
        "show",
        run_show,
        summary="show one tenant",
        description="Show one tenant.",
        example="zfsstore tenant show acme",
    )
    show.add_argument("name", metavar="NAME")
    _add_set(group)
    delete = add_command(
        group,
        "delete",
        run_delete,
        summary="delete a tenant without users and buckets",
        description="""\
Delete a tenant. Refused while users belong to it or it holds buckets. Its empty volume is
moved to the trash, from where an operator removes it.""",
        example="zfsstore user delete acme && zfsstore tenant delete acme",
    )
    delete.add_argument("name", metavar="NAME")


def _add_set(group: Commands) -> None:
    change = add_command(
        group,
        "set",
        run_set,
        summary="change a tenant's quota or properties",
        description="""\
Change a tenant's quota, which all its buckets share, or properties of its volume, which they
inherit. Clients notice nothing.""",
        example="zfsstore tenant set acme --quota 2TiB --property compression=zstd",
    )
    change.add_argument("name", metavar="NAME")
    change.add_argument(
        "--quota",
        type=parse_quota,
        metavar="SIZE",
        default=argparse.SUPPRESS,
        help="such as 2TiB, or none",
    )
    _add_property(change)
    add_dry_run(change)


def _add_property(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--property",
        action="append",
        default=[],
        type=parse_property,
        metavar="NAME=VALUE",
        help="of ZFS, such as compression=zstd; may be repeated",
    )


def tenant_to_dict(tenant: Tenant) -> dict[str, Any]:
    """Return a tenant as JSON."""
    return {"name": tenant.name, "policy": tenant.policy, "quota_bytes": tenant.quota_bytes}


def run_create(args: argparse.Namespace, output: Output) -> int:
    """Create a tenant."""
    properties, key = _properties(args), parse_key(args)
    with administration(args) as admin:
        tenant = admin.create_tenant(
            args.name,
            policy=args.policy,
            quota_bytes=args.quota,
            properties=properties,
            encryption=key,
        )
    output.text(f"created tenant {tenant.name}", tenant_to_dict(tenant))
    return OK


def run_set(args: argparse.Namespace, output: Output) -> int:
    """Change a tenant's quota and properties."""
    properties = _properties(args)
    if "quota" not in args and not properties:
        raise InvalidArgument(
            "nothing is to be changed",
            operation="change tenant",
            subject=args.name,
            hint="add --quota or --property",
        )
    with administration(args) as admin:
        tenant = admin.get_tenant(args.name)
        if not args.dry_run:
            quota = args.quota if "quota" in args else tenant.quota_bytes
            admin.put_tenant(
                args.name, policy=tenant.policy, quota_bytes=quota, properties=properties
            )
            tenant = admin.get_tenant(args.name)
    changes = [f"{name}={value}" for name, value in properties.items()]
    if "quota" in args:
        changes.insert(0, f"quota={'none' if args.quota is None else format_size(args.quota)}")
    data = tenant_to_dict(tenant) | {"properties": properties, "dry_run": args.dry_run}
    output.text(f"{done(args, 'set', 'set')} {' '.join(changes)} of tenant {args.name}", data)
    return OK


def _properties(args: argparse.Namespace) -> dict[str, str]:
    from zfsstore.volumes.properties import check_chosen

    properties = check_chosen(dict(args.property))
    if "quota" in properties:
        raise InvalidArgument(
            "the quota is no property here", field="--property", hint="write --quota SIZE"
        )
    return properties


def run_list(args: argparse.Namespace, output: Output) -> int:
    """List tenants."""
    with administration(args) as admin:
        tenants = admin.list_tenants()
    output.table(
        ["TENANT", "POLICY", "QUOTA"],
        [(t.name, t.policy, format_size(t.quota_bytes)) for t in tenants],
        [tenant_to_dict(tenant) for tenant in tenants],
    )
    return OK


def run_show(args: argparse.Namespace, output: Output) -> int:
    """Show one tenant."""
    with administration(args) as admin:
        tenant = admin.get_tenant(args.name)
    facts = {
        "name": tenant.name,
        "policy": tenant.policy,
        "quota": format_size(tenant.quota_bytes),
    }
    output.facts(facts, tenant_to_dict(tenant))
    return OK


def run_delete(args: argparse.Namespace, output: Output) -> int:
    """Delete a tenant."""
    with administration(args) as admin:
        admin.delete_tenant(args.name)
    output.text(f"deleted tenant {args.name}", {"deleted": args.name})
    return OK
