"""``zfsstore sweep``: what is stored that no key needs, and what a key needs that is not stored."""

from __future__ import annotations

import argparse
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from modules.errors import InvalidArgument, NotSupported
from zfsstore.cli.buckets import chosen_tenants, each_bucket
from zfsstore.cli.output import Output, format_size, format_table, printable
from zfsstore.cli.parsers import FAILED, OK, Commands, add_command
from zfsstore.cli.session import services
from zfsstore.cli.values import parse_age

if TYPE_CHECKING:
    from modules.extensions import SweepReport

_EXIT_STATUS = """\
exit status:
  0  done, and all live data is there
  1  live data is missing (each is listed), or it could not be done; one line on stderr says why
  2  the command line is wrong"""


def add_parser(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "sweep",
        run_sweep,
        summary="report, or move aside, stored data that no key needs",
        description="""\
Compare what the storage modules hold with what the keys need. Data that no key needs is left
by a crash between storing an object and recording its key; it costs space and nothing else.
By default it is only reported. With --apply it is moved to the volume's quarantine, from where
it can be put back; nothing is deleted. What is younger than --older-than is left alone, so no
upload under way is hit. Data that a key needs and that is not there is reported as missing:
that is damage, to be restored from a snapshot or a replica.""",
        example="zfsstore sweep\nzfsstore sweep --tenant acme --bucket photos --apply",
        exit_status=_EXIT_STATUS,
    )
    parser.add_argument("--tenant", metavar="TENANT", help="default: all tenants")
    parser.add_argument("--bucket", metavar="BUCKET", help="of --tenant; default: all its buckets")
    parser.add_argument(
        "--older-than",
        type=parse_age,
        default=timedelta(hours=24),
        metavar="AGE",
        help="such as 24h (the default) or 7d",
    )
    parser.add_argument(
        "--apply", action="store_true", help="move unreferenced data to the quarantine"
    )


def report_to_dict(tenant: str, bucket: str, report: SweepReport) -> dict[str, Any]:
    """Return one bucket's report as JSON."""
    return {
        "tenant": tenant,
        "bucket": bucket,
        "scanned": report.scanned,
        "unreferenced": list(report.unreferenced),
        "unreferenced_bytes": report.unreferenced_bytes,
        "quarantined": report.quarantined,
        "too_young": report.too_young,
        "missing": list(report.missing),
    }


def run_sweep(args: argparse.Namespace, output: Output) -> int:
    """Sweep every chosen bucket, print the reports."""
    if args.bucket and not args.tenant:
        raise InvalidArgument(
            "a bucket is named without its tenant", operation="sweep", hint="add --tenant NAME"
        )
    reports: list[dict[str, Any]] = []
    unsupported: list[str] = []
    with services(args) as opened:
        for tenant in chosen_tenants(opened, args.tenant):
            names = (
                [args.bucket]
                if args.bucket
                else [bucket.name for bucket in each_bucket(opened, tenant)]
            )
            for name in names:
                try:
                    report = opened.objects.sweep(
                        tenant, name, older_than=args.older_than, dry_run=not args.apply
                    )
                except NotSupported:
                    if args.bucket:
                        raise
                    unsupported.append(f"{tenant.name}/{name}")
                else:
                    reports.append(report_to_dict(tenant.name, name, report))
    data = {"reports": reports, "unsupported": unsupported}
    output.text(_format(reports, unsupported, older_than=args.older_than), data)
    return FAILED if any(report["missing"] for report in reports) else OK


def _format(reports: list[dict[str, Any]], unsupported: list[str], *, older_than: timedelta) -> str:
    lines = [
        format_table(
            ["TENANT", "BUCKET", "SCANNED", "UNREFERENCED", "BYTES", "YOUNG", "MISSING"],
            [
                (
                    report["tenant"],
                    report["bucket"],
                    report["scanned"],
                    len(report["unreferenced"]),
                    format_size(report["unreferenced_bytes"]),
                    report["too_young"],
                    len(report["missing"]),
                )
                for report in reports
            ],
        )
    ]
    for report in reports:
        where = printable(f"{report['tenant']}/{report['bucket']}")
        done = "quarantined" if report["quarantined"] else "unreferenced"
        lines += [f"{done}  {where}  {printable(name)}" for name in report["unreferenced"]]
        lines += [f"MISSING  {where}  {printable(name)}" for name in report["missing"]]
    lines += [f"not swept, its module cannot  {printable(name)}" for name in unsupported]
    if any(report["unreferenced"] and not report["quarantined"] for report in reports):
        lines.append("nothing was changed; --apply moves what is unreferenced to the quarantine")
    return "\n".join(lines)
