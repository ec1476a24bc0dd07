"""Time subjects against each other: interleaved rounds, medians, ratios within a round."""

from __future__ import annotations

import gc
import os
import statistics
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from bench.data import Pool
from bench.subjects import Subject


@dataclass(frozen=True, slots=True)
class Case:
    """One size, one number of threads.

    Attributes:
        puts: objects each thread stores in a round.
        reads: how often each thread reads each of its objects in a round.
    """

    size_bytes: int
    threads: int
    puts: int
    reads: int = 1


@dataclass(slots=True)
class Result:
    """What one subject did in one case; rates are bytes or operations a second."""

    subject: str
    is_raw: bool
    put_rates: list[float] = field(default_factory=list)
    get_rates: list[float] = field(default_factory=list)
    put_ratio: float | None = None
    get_ratio: float | None = None


def run_case(case: Case, subjects: Sequence[Subject], pool: Pool, *, rounds: int) -> list[Result]:
    """Measure every subject in every round, in an order that rotates; return results with ratios.

    Objects are deleted outside the measured time, and read while in the page cache.
    """
    results = {subject.name: Result(subject.name, subject.is_raw) for subject in subjects}
    for subject in subjects:
        _verify(subject, pool, min(case.size_bytes, 1 << 20))
    for number in range(rounds):
        shift = number % len(subjects)
        for subject in [*subjects[shift:], *subjects[:shift]]:
            put_s, get_s = _run_round(case, subject, pool)
            operations = case.threads * case.puts
            results[subject.name].put_rates.append(operations / put_s)
            results[subject.name].get_rates.append(operations * case.reads / get_s)
    _add_ratios(list(results.values()))
    return list(results.values())


def _add_ratios(results: Sequence[Result]) -> None:
    raw = [result for result in results if result.is_raw]
    if not raw:
        return
    fastest_put = max(raw, key=lambda result: statistics.median(result.put_rates)).put_rates
    fastest_get = max(raw, key=lambda result: statistics.median(result.get_rates)).get_rates
    for result in results:
        result.put_ratio = paired_ratio(result.put_rates, fastest_put)
        result.get_ratio = paired_ratio(result.get_rates, fastest_get)


def paired_ratio(rates: Sequence[float], baseline: Sequence[float]) -> float:
    """Return the median of the ratios round by round, which cancels what slows a whole round."""
    return statistics.median(a / b for a, b in zip(rates, baseline, strict=True))


def _run_round(case: Case, subject: Subject, pool: Pool) -> tuple[float, float]:
    handles: list[list[Any]] = [[] for _ in range(case.threads)]

    def put(thread: int) -> None:
        for number in range(case.puts):
            source = pool.source(case.size_bytes, number=thread * case.puts + number)
            handles[thread].append(subject.put(source, case.size_bytes))

    def get(thread: int) -> None:
        for _ in range(case.reads):
            for handle in handles[thread]:
                if subject.get(handle) != case.size_bytes:
                    raise AssertionError(f"{subject.name}: short read")

    try:
        put_s = timed_threads(case.threads, put)
        get_s = timed_threads(case.threads, get)
    finally:
        for thread in handles:
            for handle in thread:
                subject.delete(handle)
    return put_s, get_s


def timed_threads(count: int, work: Callable[[int], None]) -> float:
    """Run ``work(0..count-1)`` in as many threads at once; return seconds from start to last end.

    Raises:
        Exception: the first that *work* raised.
    """
    errors: list[BaseException] = []
    ready = threading.Barrier(count + 1)

    def run(number: int) -> None:
        ready.wait()
        try:
            work(number)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    gc.collect()
    ready.wait()
    start = time.perf_counter()
    for thread in threads:
        thread.join()
    elapsed = time.perf_counter() - start
    if errors:
        raise errors[0]
    return elapsed


def _verify(subject: Subject, pool: Pool, size_bytes: int) -> None:
    handle = subject.put(pool.source(size_bytes), size_bytes)
    expected = pool.source(size_bytes).read()
    if subject.read_back(handle) != expected:
        raise AssertionError(f"{subject.name}: what was read is not what was stored")
    subject.delete(handle)


@dataclass(slots=True)
class Syncs:
    """Calls counted inside this process."""

    fsync: int = 0
    fdatasync: int = 0


@contextmanager
def counted_syncs() -> Iterator[Syncs]:
    """Count this process's os.fsync and os.fdatasync calls inside the block."""
    syncs = Syncs()
    fsync, fdatasync = os.fsync, os.fdatasync

    def counting_fsync(fd: Any) -> None:
        syncs.fsync += 1
        fsync(fd)

    def counting_fdatasync(fd: Any) -> None:
        syncs.fdatasync += 1
        fdatasync(fd)

    os.fsync, os.fdatasync = counting_fsync, counting_fdatasync
    try:
        yield syncs
    finally:
        os.fsync, os.fdatasync = fsync, fdatasync


def count_per_put(
    subject: Subject, pool: Pool, *, size_bytes: int, puts: int, pool_name: str | None
) -> dict[str, float | None]:
    """Return fsync and fdatasync calls, and ZFS transaction groups, per put by one thread."""
    from bench.disk import newest_txg

    before = newest_txg(pool_name)
    with counted_syncs() as syncs:
        handles = [
            subject.put(pool.source(size_bytes, number=number), size_bytes)
            for number in range(puts)
        ]
    after = newest_txg(pool_name)
    for handle in handles:
        subject.delete(handle)
    txgs = None if before is None or after is None else (after - before) / puts
    return {
        "fsync": syncs.fsync / puts,
        "fdatasync": syncs.fdatasync / puts,
        "txg": txgs,
    }
