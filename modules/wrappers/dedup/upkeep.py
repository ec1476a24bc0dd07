"""What a host does with an index in the background: collect, then compact, a little at a time."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta

from modules.errors import KeyDestroyed
from modules.wrappers.dedup import schema
from modules.wrappers.dedup.collecting import (
    CollectReport,
    ShouldStop,
    collect_chunks,
    collect_packs,
)
from modules.wrappers.dedup.compacting import compact
from modules.wrappers.dedup.tools import Tools


def collect(tools: Tools, should_stop: ShouldStop, *, grace: timedelta) -> CollectReport:
    """Remove chunks that nobody needs, then packs that have been dead for *grace*."""
    report = CollectReport()
    blobs = tools.blob_reader("a recipe that nobody needs")
    try:
        collect_chunks(tools.index, lambda id_: blobs.node(id_).children, report, should_stop)
    finally:
        blobs.close()
    collect_packs(tools.index, tools.delete, report, grace=grace, should_stop=should_stop)
    return report


def keep_up(tools: Tools, is_over: ShouldStop, *, grace: timedelta) -> bool:
    """Collect and compact until *is_over*; return True when there is more to do at once."""

    def should_stop() -> bool:
        return is_over() or tools.is_draining

    if _has_garbage(tools, grace):
        collect(tools, should_stop, grace=grace)
    with suppress(KeyDestroyed):  # nothing can be read any more; what is deleted goes all the same
        if not should_stop():
            compact(tools, should_stop)
    return should_stop()


def _has_garbage(tools: Tools, grace: timedelta) -> bool:
    """Look, without writing, whether a collection would find anything."""
    now = tools.index.clock()
    with tools.index.database.reading("collect") as connection:
        row = connection.execute(
            "SELECT EXISTS (SELECT 1 FROM chunk INDEXED BY chunk_zero WHERE refs = 0)"
            " OR EXISTS (SELECT 1 FROM session WHERE lease_until < ? OR generation != ?)"
            " OR EXISTS (SELECT 1 FROM pack WHERE state = ?"
            " OR (state = ? AND changed_at <= ?))",
            (
                now,
                tools.index.generation(),
                schema.PACK_OPEN,
                schema.PACK_DEAD,
                now - grace.total_seconds(),
            ),
        ).fetchone()
    return bool(row[0])
