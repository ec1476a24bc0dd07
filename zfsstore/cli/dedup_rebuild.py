"""``zfsstore dedup rebuild-index``: an index that is lost or damaged is made anew."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from modules.errors import Conflict, InvalidArgument, NotFound
from modules.extensions import SupportsFence
from zfsstore.cli.confirmation import add_dry_run, add_yes, confirm
from zfsstore.cli.deduplicating import Deduplicated, add_target, chosen
from zfsstore.cli.output import Output, printable
from zfsstore.cli.parsers import FAILED, OK, Commands, add_command
from zfsstore.cli.session import services

if TYPE_CHECKING:
    from zfsstore.host.services import Services

_EXIT_STATUS: Final = """\
exit status:
  0  done, and all objects are in the new index
  1  objects are lost (each is listed), or it could not be done; one line on stderr says why
  2  the command line is wrong"""


def add_command_to(group: Commands) -> None:
    """Add the command."""
    rebuild = add_command(
        group,
        "rebuild-index",
        run_rebuild,
        summary="make a bucket's lost or damaged index anew",
        description="""\
Make an index anew from its packs and from what the host knows of the objects. The new one takes the
place of the old one when it is complete; that stays beside it as dedup.db.replaced-TIME. Which
packs there are, a module like ZFSStorage tells; encrypted ones are named by the old index, as far
as it can be read, and by its copies in snapshots (--snapshot): what was stored after the newest of
these is lost when the index cannot be read at all.
A running host is made to let go of the bucket; clients are told to come back (503) while this
lasts. Where there are no volumes, stop the host first, and leave VOLUME out.""",
        example="zfsstore dedup rebuild-index dedup acme/photos --snapshot monday --dry-run\n"
        "zfsstore dedup rebuild-index dedup acme/photos --snapshot monday --yes",
        exit_status=_EXIT_STATUS,
    )
    add_target(rebuild, text="a bucket, as in acme/photos")
    rebuild.add_argument(
        "--snapshot",
        action="append",
        default=[],
        metavar="NAME",
        help="of this bucket, whose index names packs, too; may be repeated",
    )
    add_dry_run(rebuild)
    add_yes(rebuild)


def run_rebuild(args: argparse.Namespace, output: Output) -> int:
    """Make an index anew, after it was confirmed."""
    with services(args) as opened:
        target = _one(opened, args)
        packs, objects = target.packs(args.snapshot), target.objects()
        _require_both(target, packs, objects)
        data: dict[str, Any] = {
            "volume": target.path,
            "named_packs": len(packs),
            "named_objects": len(objects),
            "dry_run": args.dry_run,
        }
        if args.dry_run:
            text = f"would make the index of {target.path} anew from {len(packs)} packs for "
            output.text(f"{text}{len(objects)} objects", data)
            return OK
        plan = [
            f"this replaces the index of {target.path}; what a sweep has set aside in it is lost"
        ]
        confirm(args, args.volume or args.module, operation="rebuild index of", plan=plan)
        report = target.module.renew_index(target.context, objects, packs)
    lines = [
        f"made the index of {target.path} anew: {report.objects} objects, "
        f"{report.chunks} chunks in {report.packs} packs"
    ]
    lines += [f"skipped  {printable(name)}" for name in report.skipped]
    lines += [f"LOST  {printable(name)}" for name in report.lost]
    output.text("\n".join(lines), {**data, **asdict(report)})
    return FAILED if report.lost else OK


def _one(opened: Services, args: argparse.Namespace) -> Deduplicated:
    """Return the one index that is named, where nobody else is or can be made to let go.

    Raises:
        InvalidArgument: a tenant is named, or nothing.
        Conflict: a server runs that cannot be kept out.
    """
    from zfsstore.host.running import find_server

    targets = chosen(opened, args.module, args.volume)
    if len(targets) != 1 or (args.volume is not None and targets[0].path != args.volume):
        raise InvalidArgument(
            "name one bucket", operation="rebuild index", subject=args.volume or args.module
        )
    is_fenced = isinstance(targets[0].module, SupportsFence)
    if not is_fenced and find_server(opened.config.data_dir) is not None:
        raise Conflict(
            "a host is running, and cannot be kept out of it",
            operation="rebuild index",
            subject=args.module,
            hint="stop the host first",
        )
    return targets[0]


def _require_both(target: Deduplicated, packs: list[str], objects: list[str]) -> None:
    """Refuse to make an index in which all that is stored would be unneeded.

    Raises:
        NotFound: no object is known, or no pack.
    """
    if not objects:
        raise NotFound(
            "the host knows no object in it", operation="rebuild index of", subject=target.path
        )
    if not packs:
        raise NotFound(
            "nobody knows its packs",
            operation="rebuild index of",
            subject=target.path,
            hint="name a snapshot of it with --snapshot",
        )
