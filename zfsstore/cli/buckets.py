"""``zfsstore bucket``: what buckets there are, and their files."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from zfsstore.cli import bucket_files
from zfsstore.cli.output import Output, format_size
from zfsstore.cli.parsers import OK, Commands, add_command, add_group
from zfsstore.cli.session import services

if TYPE_CHECKING:
    from zfsstore.host.catalog import Tenant
    from zfsstore.host.services import Services


def add_parser(commands: Commands) -> None:
    """Add the group."""
    group = add_group(
        commands,
        "bucket",
        "buckets: list, publish, unpublish, adopt",
        "Buckets (top-level containers). Clients create and delete them over HTTP.",
    )
    bucket_list = add_command(
        group,
        "list",
        run_list,
        summary="list the buckets of one tenant, or of all",
        description="List buckets by tenant and name, with their quotas.",
        example="zfsstore bucket list acme",
    )
    bucket_list.add_argument("tenant", metavar="TENANT", nargs="?", help="default: all tenants")
    bucket_files.add_commands(group)


def chosen_tenants(opened: Services, name: str | None) -> list[Tenant]:
    """Return the tenant called *name*, or all of them for None."""
    admin = opened.administration
    return admin.list_tenants() if name is None else [admin.get_tenant(name)]


def each_bucket(opened: Services, tenant: Tenant) -> Iterator[Any]:
    """Yield every bucket of a tenant, by name, page after page."""
    after = None
    while True:
        page = opened.objects.list_buckets(tenant, after=after)
        yield from page.buckets
        if page.next_after is None:
            return
        after = page.next_after


def run_list(args: argparse.Namespace, output: Output) -> int:
    """List buckets."""
    with services(args) as opened:
        found = [
            {"tenant": tenant.name, "name": bucket.name, "quota_bytes": bucket.quota_bytes}
            for tenant in chosen_tenants(opened, args.tenant)
            for bucket in each_bucket(opened, tenant)
        ]
    output.table(
        ["TENANT", "BUCKET", "QUOTA"],
        [(row["tenant"], row["name"], format_size(row["quota_bytes"])) for row in found],
        found,
    )
    return OK
