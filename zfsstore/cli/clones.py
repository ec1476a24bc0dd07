"""``zfsstore clone``: buckets made from other buckets, at once and without copying."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from modules.errors import InvalidArgument
from zfsstore.cli.confirmation import add_dry_run, done
from zfsstore.cli.output import Output
from zfsstore.cli.parsers import OK, Commands, add_command, add_group
from zfsstore.cli.session import services
from zfsstore.cli.targets import (
    SnapshotName,
    add_volume,
    find_snapshot,
    require_free,
    volume_to_dict,
)

if TYPE_CHECKING:
    from modules.volumes import Volume


def add_parser(commands: Commands) -> None:
    """Add the group."""
    group = add_group(
        commands,
        "clone",
        "clones: create, promote",
        "A clone is a bucket of its own that starts as another bucket's snapshot.",
    )
    create = add_command(
        group,
        "create",
        run_create,
        summary="make a bucket from another's snapshot",
        description="""\
Make a bucket that starts as a snapshot of another: at once, whatever its size, sharing the space
of what neither changes. Without @SNAPSHOT a new snapshot is taken and named fork-<time>. Both are
then changed independently; the snapshot cannot be deleted while the clone depends on it.""",
        example="zfsstore clone create acme/photos@monday acme/photos-test",
    )
    create.add_argument("source", metavar="BUCKET[@SNAPSHOT]", help="as in acme/photos@monday")
    create.add_argument("new_name", metavar="NEW", help="the new bucket, as in acme/photos-test")
    add_dry_run(create)
    promote = add_command(
        group,
        "promote",
        run_promote,
        summary="let a clone stand by itself",
        description="""\
Turn a clone and its origin round: the clone takes over the snapshot it was made from and those
before it, and the other bucket becomes the clone, which can be destroyed. Nothing is copied,
no content changes, clients notice nothing.""",
        example="zfsstore clone promote acme/photos-test",
    )
    add_volume(promote, text="a clone, as in acme/photos-test")
    add_dry_run(promote)


def parse_source(text: str) -> SnapshotName:
    """Return bucket and snapshot, which is "" when none is named."""
    volume, at, snapshot = text.rpartition("@")
    return SnapshotName(volume, snapshot) if at else SnapshotName(text, "")


def run_create(args: argparse.Namespace, output: Output) -> int:
    """Make a clone."""
    name = parse_source(args.source)
    with services(args) as opened:
        volume: Volume | None = None
        if args.dry_run:
            if name.snapshot:
                find_snapshot(opened, name, operation="clone snapshot")
            else:
                opened.volumes.get_volume(name.volume)
            require_free(opened, args.new_name, like=name.volume, operation="create clone")
        else:
            volume = opened.volumes.fork(name.volume, args.new_name, snapshot=name.snapshot or None)
    data = {"name": args.new_name, "source": args.source, "dry_run": args.dry_run}
    if volume is not None:
        data |= volume_to_dict(volume)
    output.text(f"{done(args, 'create', 'created')} {args.new_name} from {args.source}", data)
    return OK


def run_promote(args: argparse.Namespace, output: Output) -> int:
    """Promote a clone."""
    with services(args) as opened:
        volume = opened.volumes.get_volume(args.volume)
        if "clone" not in volume:
            raise InvalidArgument(
                "it is no clone",
                operation="promote",
                subject=args.volume,
                hint="`zfsstore volume list` shows what is",
            )
        origin = volume["clone"]
        if not args.dry_run:
            volume = opened.volumes.promote(args.volume)
    text = f"{done(args, 'promote', 'promoted')} {args.volume}"
    text += f"; {done(args, 'make', 'made')} {origin['parent_volume']} a clone of it"
    data = {
        **volume_to_dict(volume),
        "was_clone_of": f"{origin['parent_volume']}@{origin['parent_snapshot']}",
        "dry_run": args.dry_run,
    }
    output.text(text, data)
    return OK
