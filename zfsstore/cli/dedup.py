"""``zfsstore dedup``: what deduplication saves, and the upkeep and checking of its indexes."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import timedelta
from typing import Any, Final

from modules.errors import IntegrityError, PermissionDenied
from zfsstore.cli import dedup_rebuild
from zfsstore.cli.deduplicating import Deduplicated, add_target, chosen
from zfsstore.cli.output import Output, format_size, format_table, print_note, printable
from zfsstore.cli.parsers import FAILED, OK, Commands, add_command, add_group
from zfsstore.cli.progress import Counting, add_progress
from zfsstore.cli.session import services
from zfsstore.cli.values import parse_age

Row = dict[str, Any]

_CHECK_STATUS: Final = """\
exit status:
  0  all is as it should be, or was put right
  1  something is wrong (each is listed), or it could not be done; one line on stderr says why
  2  the command line is wrong"""


def add_parser(commands: Commands) -> None:
    """Add the group."""
    group = add_group(
        commands,
        "dedup",
        "deduplicating modules: stats, collect, compact, fsck, rebuild-index",
        "Deduplicating modules: each volume has packs of chunks, and an index of them.",
    )
    stats = add_command(
        group,
        "stats",
        run_stats,
        summary="what clients stored, and how much room it takes",
        description="""\
Show for each bucket what clients stored (LOGICAL), what packs of chunks take (STORED), how much of
that is needed (NEEDED; the rest goes with the next collection), and how many times smaller the
stored bytes are than the logical ones (RATIO). A module without volumes has one index for all.""",
        example="zfsstore dedup stats dedup\nzfsstore dedup stats dedup acme --json",
    )
    add_target(stats)
    _add_collect(group)
    _add_compact(group)
    _add_fsck(group)
    dedup_rebuild.add_command_to(group)


def _add_collect(group: Commands) -> None:
    collect = add_command(
        group,
        "collect",
        run_collect,
        summary="remove chunks that no object needs, and empty packs",
        description="""\
Remove the chunks that no object needs any more from the index, and delete packs of which nothing
is needed from the inner module, once they have been empty for --grace. A running host does this by
itself, every ten minutes or so. Readers and writers go on; it can be interrupted and repeated.
Snapshots keep what they hold.""",
        example="zfsstore dedup collect dedup acme/photos",
    )
    add_target(collect)
    collect.add_argument(
        "--grace",
        type=parse_age,
        default=timedelta(hours=1),
        metavar="AGE",
        help="how long packs stay for those who still read in them: 1h (the default), 0s",
    )
    add_progress(collect)


def _add_compact(group: Commands) -> None:
    compact = add_command(
        group,
        "compact",
        run_compact,
        summary="join small and half-empty packs",
        description="""\
Copy what is needed of packs that are small, or less than 60 % needed, into new ones. The old ones
are deleted by a later collection, so until then more room is taken. A running host does this by
itself. Readers and writers go on; it can be interrupted and repeated.""",
        example="zfsstore dedup compact dedup acme",
    )
    add_target(compact)
    add_progress(compact)


def _add_fsck(group: Commands) -> None:
    fsck = add_command(
        group,
        "fsck",
        run_fsck,
        summary="compare indexes with their packs",
        description="""\
Compare each index with its packs; readers and writers go on. Level 0: are the packs there, and as
long as noted. 1: and do they hold the chunks that the index says. 2: and is every chunk what was
stored; reads everything. 3: and are the references counted right; reads all recipes, too. --refs
is level 3, and puts wrong counts right. Nothing else is changed. What is damaged in a pack has to
come from a snapshot or a replica; a damaged index can be made anew with `dedup rebuild-index`.""",
        example="zfsstore dedup fsck dedup\nzfsstore dedup fsck dedup acme/photos --level 2",
        exit_status=_CHECK_STATUS,
    )
    add_target(fsck)
    fsck.add_argument(
        "--level", type=int, choices=range(4), default=1, metavar="0..3", help="default: 1"
    )
    fsck.add_argument(
        "--refs", action="store_true", help="level 3, and put counts of references right"
    )
    add_progress(fsck)


def run_stats(args: argparse.Namespace, output: Output) -> int:
    """Show what is stored."""
    with services(args) as opened:
        rows = [_stats(target) for target in chosen(opened, args.module, args.volume)]
    if len(rows) > 1:
        names = ("objects", "logical_bytes", "stored_bytes", "needed_bytes", "chunks", "packs")
        total = {name: sum(row[name] for row in rows) for name in names}
        shown = [*rows, {"volume": "total", **total, "ratio": _ratio(total)}]
    else:
        shown = rows
    output.table(
        ["VOLUME", "OBJECTS", "LOGICAL", "STORED", "NEEDED", "CHUNKS", "PACKS", "RATIO"],
        [
            (
                row["volume"],
                row["objects"],
                format_size(row["logical_bytes"]),
                format_size(row["stored_bytes"]),
                format_size(row["needed_bytes"]),
                row["chunks"],
                row["packs"],
                "-" if row["ratio"] is None else f"{row['ratio']:.2f}",
            )
            for row in shown
        ],
        rows,
    )
    return OK


def _stats(target: Deduplicated) -> Row:
    names = ("objects", "logical_bytes", "stored_bytes", "needed_bytes", "chunks", "packs")
    found: Row = dict.fromkeys(names, 0)
    if target.module.has_index(target.context):
        told = target.module.statistics(target.context)["deduplication"]
        found = {name: told[name] for name in names}
    return {"volume": target.path, **found, "ratio": _ratio(found)}


def _ratio(row: Row) -> float | None:
    return round(row["logical_bytes"] / row["stored_bytes"], 3) if row["stored_bytes"] else None


def run_collect(args: argparse.Namespace, output: Output) -> int:
    """Collect."""

    def collect(target: Deduplicated, counting: Counting) -> Row:
        report = target.module.collect(target.context, grace=args.grace, should_stop=counting.tick)
        return asdict(report)

    rows = list(_each(args, "batches", collect))
    lines = [
        format_table(
            ["VOLUME", "CHUNKS", "BYTES", "PACKS DELETED", "FREED"],
            [
                (
                    row["volume"],
                    row["chunks"],
                    format_size(row["stored_bytes"]),
                    row["packs"],
                    format_size(row["pack_bytes"]),
                )
                for row in rows
            ],
        )
    ]
    lines += [f"waits  {row['volume']}  {printable(why)}" for row in rows for why in row["waiting"]]
    output.text("\n".join(lines), rows)
    return OK


def run_compact(args: argparse.Namespace, output: Output) -> int:
    """Compact."""

    def compact(target: Deduplicated, counting: Counting) -> Row:
        return asdict(target.module.compact(target.context, should_stop=counting.tick))

    rows = list(_each(args, "new packs", compact))
    output.table(
        ["VOLUME", "PACKS EMPTIED", "BYTES", "PACKS MADE", "BYTES"],
        [
            (
                row["volume"],
                row["emptied"],
                format_size(row["emptied_bytes"]),
                row["made"],
                format_size(row["made_bytes"]),
            )
            for row in rows
        ],
        rows,
    )
    return OK


def run_fsck(args: argparse.Namespace, output: Output) -> int:
    """Check, and print what is wrong."""
    level = 3 if args.refs else args.level

    def check(target: Deduplicated, counting: Counting) -> Row:
        if not target.module.has_index(target.context):
            raise IntegrityError(
                f"{len(target.objects())} objects are stored there, but it has no index",
                operation="check index of",
                subject=target.path,
                hint="restore a snapshot, or use `zfsstore dedup rebuild-index`",
            )
        report = target.module.fsck(
            target.context, level=level, repair=args.refs, progress=counting.add
        )
        is_right = report.is_clean or report.repaired == report.problem_count
        return {"level": level, **asdict(report), "ok": is_right}

    rows = list(_each(args, "packs", check))
    lines = [
        format_table(
            ["VOLUME", "LEVEL", "PACKS", "CHUNKS", "OBJECTS", "PROBLEMS", "REPAIRED"],
            [
                (
                    *(row["volume"], level, row["packs"], row["chunks"], row["objects"]),
                    *(row["problem_count"], row["repaired"]),
                )
                for row in rows
            ],
        )
    ]
    lines += [f"{row['volume']}  {printable(what)}" for row in rows for what in row["problems"]]
    output.text("\n".join(lines), rows)
    return OK if all(row["ok"] for row in rows) else FAILED


def _each(
    args: argparse.Namespace, noun: str, action: Callable[[Deduplicated, Counting], Row]
) -> Iterator[Row]:
    """Run *action* for each chosen index that there is, and tell how far it is."""
    with services(args) as opened, _counting(noun, args) as counting:
        for target in chosen(opened, args.module, args.volume):
            counting.subject = target.path
            if not target.module.has_index(target.context) and not target.objects():
                continue
            try:
                yield {"volume": target.path, **action(target, counting)}
            except PermissionDenied:
                if target.path == args.volume:
                    raise
                print_note(f"{target.path} is left out: it is a read-only replica")


@contextmanager
def _counting(noun: str, args: argparse.Namespace) -> Iterator[Counting]:
    counting = Counting(noun, is_wanted=args.progress)
    yield counting
    if counting.subject:
        counting.finish()
