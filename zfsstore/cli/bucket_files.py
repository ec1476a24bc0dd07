"""``zfsstore bucket publish``, ``unpublish`` and ``adopt``: objects as files, files as objects."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modules.errors import InvalidArgument
from zfsstore.cli.confirmation import add_dry_run, done
from zfsstore.cli.output import Output, format_size, print_note, printable
from zfsstore.cli.parsers import FAILED, OK, Commands, add_command
from zfsstore.cli.progress import Progress
from zfsstore.cli.session import services

if TYPE_CHECKING:
    from zfsstore.host.adopting import AdoptReport
    from zfsstore.host.catalog import Tenant
    from zfsstore.host.services import Services

_ADOPT_STATUS = """\
exit status:
  0  done, all files are objects
  1  files were left out (each is listed), or it could not be done; one line on stderr says why
  2  the command line is wrong"""


def add_commands(group: Commands) -> None:
    """Add the commands to the group ``bucket``."""
    _add_publish(group)
    _add_adopt(group)


def _add_publish(group: Commands) -> None:
    publish = add_command(
        group,
        "publish",
        run_publish,
        summary="show a bucket's objects as files",
        description="""\
Show a bucket's objects as read-only files under their names, in files/ of its directory, for NFS
and SMB clients, backups and people without this program; returns when all are there. From then on a
running host keeps them so, a moment after each change. They are hard links, and take no space.
Export them read-only: whoever can write to a file changes the object. Everybody on this machine who
can reach the directory can read them.""",
        example="zfsstore bucket publish acme/photos\n"
        "zfsstore export add acme/photos --client 10.0.0.0/8",
    )
    _add_bucket(publish)
    publish.add_argument(
        "--rebuild", action="store_true", help="remove the files and show all anew"
    )
    add_dry_run(publish)
    unpublish = add_command(
        group,
        "unpublish",
        run_unpublish,
        summary="show no files any more",
        description="Remove a bucket's files/ and keep none from then on. Its objects stay.",
        example="zfsstore bucket unpublish acme/photos",
    )
    _add_bucket(unpublish)
    add_dry_run(unpublish)


def _add_adopt(group: Commands) -> None:
    adopt = add_command(
        group,
        "adopt",
        run_adopt,
        summary="take an existing tree of files in",
        description="""\
Make an object of every file below a folder, under its path, with its time and the content type of
its name; nothing is removed there. On ZFS (2.2 and later, same pool), btrfs and XFS the objects
share the files' blocks; elsewhere they are copies. Empty folders become containers; links, devices
and names that are no UTF-8 are left out. Nobody may write to the files meanwhile. An object that
was changed after its file stays. Cut off, it goes on when called again.""",
        example="zfsstore bucket adopt /srv/photos acme/photos --dry-run\n"
        "zfsstore bucket adopt /srv/photos acme/photos",
        exit_status=_ADOPT_STATUS,
    )
    adopt.add_argument("directory", metavar="DIR", type=Path)
    _add_bucket(adopt)
    adopt.add_argument(
        "--link",
        action="store_true",
        help="let the files themselves be the objects, read-only from then on; on the same file "
        "system only. Whoever writes to one all the same destroys the object",
    )
    add_dry_run(adopt)


def _add_bucket(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bucket", metavar="BUCKET", help="as in acme/photos")


def find_bucket(opened: Services, name: str) -> tuple[Tenant, str]:
    """Return tenant and bucket of "acme/photos".

    Raises:
        InvalidArgument: it names no bucket.
        NotFound: there is no such tenant.
    """
    tenant, slash, bucket = name.partition("/")
    if not (tenant and slash and bucket):
        raise InvalidArgument(
            "it names no bucket", subject=name, hint="write TENANT/BUCKET", operation="find bucket"
        )
    return opened.administration.get_tenant(tenant), bucket


def run_publish(args: argparse.Namespace, output: Output) -> int:
    """Publish a bucket."""
    with services(args) as opened:
        tenant, bucket = find_bucket(opened, args.bucket)
        opened.objects.get_bucket(tenant, bucket)
        if not args.dry_run:
            opened.objects.publishing.publish(tenant, bucket, rebuild=args.rebuild)
    return _tell(args, output, done(args, "publish", "published"))


def run_unpublish(args: argparse.Namespace, output: Output) -> int:
    """Unpublish a bucket."""
    with services(args) as opened:
        tenant, bucket = find_bucket(opened, args.bucket)
        opened.objects.get_bucket(tenant, bucket)
        if not args.dry_run:
            opened.objects.publishing.unpublish(tenant, bucket)
    return _tell(args, output, done(args, "unpublish", "unpublished"))


def _tell(args: argparse.Namespace, output: Output, verb: str) -> int:
    output.text(f"{verb} {args.bucket}", {"bucket": args.bucket, "dry_run": args.dry_run})
    return OK


def run_adopt(args: argparse.Namespace, output: Output) -> int:
    """Take files in, and name those that were left out."""
    problems: list[dict[str, str]] = []
    told = Progress()

    def left_out(path: str, reason: str) -> None:
        problems.append({"path": printable(path), "reason": reason})
        print_note(f"left out {path}: {reason}")

    def advance(report: AdoptReport) -> None:
        told.add(report.adopted_bytes - told.total_bytes)

    with services(args) as opened:
        tenant, bucket = find_bucket(opened, args.bucket)
        report = opened.objects.adoption.adopt(
            *(tenant, bucket, args.directory),
            link=args.link,
            dry_run=args.dry_run,
            problem=left_out,
            progress=advance,
        )
    told.finish()
    data: dict[str, Any] = asdict(report) | {
        "bucket": args.bucket,
        "problems": problems,
        "dry_run": args.dry_run,
    }
    size = format_size(report.adopted_bytes)
    text = f"{done(args, 'adopt', 'adopted')} {report.adopted} files, {size}"
    text += f"; {report.unchanged} were there, {report.newer} objects are newer"
    text += f", {report.containers} containers; {len(problems)} left out"
    output.text(text, data)
    return FAILED if problems else OK
