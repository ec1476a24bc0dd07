"""``zfsstore tenant``: who owns buckets, and which storage module holds them."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from zfsstore.cli.output import Output, format_size
from zfsstore.cli.parsers import OK, Commands, add_command, add_group
from zfsstore.cli.session import administration
from zfsstore.cli.values import parse_quota

if TYPE_CHECKING:
    from zfsstore.host.catalog import Tenant


def add_parser(commands: Commands) -> None:
    """Add the group."""
    group = add_group(
        commands,
        "tenant",
        "tenants: create, list, show, delete",
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
nothing until it has a user.""",
        example="zfsstore tenant create acme --policy default --quota 500GiB",
    )
    create.add_argument("name", metavar="NAME")
    create.add_argument(
        "--policy", required=True, metavar="MODULE", help="a name from `zfsstore module list`"
    )
    create.add_argument(
        "--quota", type=parse_quota, metavar="SIZE", help="such as 500GiB (default: no quota)"
    )
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


def tenant_to_dict(tenant: Tenant) -> dict[str, Any]:
    """Return a tenant as JSON."""
    return {"name": tenant.name, "policy": tenant.policy, "quota_bytes": tenant.quota_bytes}


def run_create(args: argparse.Namespace, output: Output) -> int:
    """Create a tenant."""
    with administration(args) as admin:
        tenant = admin.create_tenant(args.name, policy=args.policy, quota_bytes=args.quota)
    output.text(f"created tenant {tenant.name}", tenant_to_dict(tenant))
    return OK


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
