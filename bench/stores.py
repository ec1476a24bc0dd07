"""Part one: modules called directly, against the raw recipes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from bench.data import Pool
from bench.disk import file_system
from bench.measure import Case, count_per_put, run_case
from bench.raw import raw_subjects
from bench.report import case_to_dict, format_case, format_counts, format_verdicts, verdicts
from bench.settings import SMALL_BYTES, Settings
from bench.subjects import Subject, dataset_subject, directory_subject, simple_subject

THREADS = 32
READS = 40
"""How often each small object is read: fewer would be over before 32 threads are under way."""


def plan_cases(settings: Settings) -> list[Case]:
    """Return what to measure: small and large objects, by one and by 32 threads."""
    puts = settings.small_puts
    return [
        Case(SMALL_BYTES, 1, puts=puts, reads=READS),
        Case(SMALL_BYTES, THREADS, puts=max(1, puts // 16), reads=READS),
        Case(settings.large_bytes, 1, puts=1),
        Case(settings.parallel_bytes, THREADS, puts=1),
    ]


def open_subjects(settings: Settings, root: Path) -> list[Subject]:
    """Return what is measured together, all on the same file system."""
    subjects: list[Subject] = [*raw_subjects(root), simple_subject(root)]
    subjects.append(
        dataset_subject(settings.dataset) if settings.dataset else directory_subject(root)
    )
    return subjects


def measure_stores(settings: Settings, root: Path, say: Callable[[str], None]) -> dict[str, Any]:
    """Measure every case and return the results as JSON; tell people through *say*."""
    pool = Pool()
    zfs_pool = file_system(root).pool
    subjects = open_subjects(settings, root)
    try:
        cases = []
        for case in plan_cases(settings):
            results = run_case(case, subjects, pool, rounds=settings.rounds)
            cases.append(case_to_dict(case, results))
            say(format_case(cases[-1]))
        counts = _count(settings, subjects, pool, zfs_pool)
        say(format_counts(counts))
    finally:
        for subject in subjects:
            subject.close()
    found = [verdict for case in cases for verdict in verdicts(case)]
    say(format_verdicts(found))
    return {
        "cases": cases,
        "per_put": counts,
        "targets": [verdict.to_dict() for verdict in found],
    }


def _count(
    settings: Settings, subjects: Sequence[Subject], pool: Pool, zfs_pool: str | None
) -> list[dict[str, Any]]:
    return [
        {
            "subject": subject.name,
            "size_bytes": size_bytes,
            **count_per_put(subject, pool, size_bytes=size_bytes, puts=puts, pool_name=zfs_pool),
        }
        for size_bytes, puts in ((SMALL_BYTES, 16), (settings.large_bytes, 1))
        for subject in subjects
    ]
