"""Index commits a second: many threads sharing transactions, against one commit a transaction.

Run alone: ``python -m bench.index_commits --dir build/bench``.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.measure import timed_threads
from bench.settings import SMALL_BYTES
from zfsstore.host.namespace.dialects import SQLITE
from zfsstore.host.namespace.index import Index
from zfsstore.host.namespace.records import Blob, Draft, Extent
from zfsstore.host.namespace.schema import VOLUME_BUCKET_ID, blob, extent, version
from zfsstore.host.namespace.sqlite import DATABASE_NAME, VolumeDatabase
from zfsstore.host.namespace.store import Store
from zfsstore.host.namespace.writer import MAX_BATCH

THREADS: Final = 32


@dataclass(frozen=True, slots=True)
class CommitRates:
    """Durable commits a second of new keys, and how many transactions a thousand of them took."""

    threads: int
    grouped_per_s: float
    single_per_s: float

    @property
    def ratio(self) -> float:
        return self.grouped_per_s / self.single_per_s


@dataclass(frozen=True, slots=True)
class ListingTimes:
    """Seconds for a page of 1,000 at the first and behind the last but 1,000 keys of an index."""

    keys: int
    first_page_s: float
    last_page_s: float
    prefixes_page_s: float

    @property
    def ratio(self) -> float:
        return self.last_page_s / self.first_page_s


def measure_commits(
    directory: Path, *, threads: int = THREADS, each: int = 500, single_each: int = 20
) -> CommitRates:
    """Commit new keys from *threads* threads, grouped and then each in a transaction of its own."""
    grouped = _commit_rate(directory / "grouped", threads, each, max_batch=MAX_BATCH)
    single = _commit_rate(directory / "single", threads, single_each, max_batch=1)
    return CommitRates(threads, grouped, single)


def measure_listing(directory: Path, *, keys: int = 1_000_000) -> ListingTimes:
    """Load an index with *keys* keys in folders of 1,000 and time pages of 1,000."""
    directory.mkdir(parents=True)
    store = Store(VolumeDatabase(directory))
    try:
        load_keys(directory, keys)
        index = Index(store)
        last = _key(keys - 1001)
        return ListingTimes(
            keys,
            _median_s(lambda: index.list_keys("", limit=1000)),
            _median_s(lambda: index.list_keys("", after=last, limit=1000)),
            _median_s(lambda: index.list_keys("", delimiter="/", limit=1000)),
        )
    finally:
        store.close()


def load_keys(
    directory: Path, keys: int, *, object_id: Callable[[int], str] = "{:032x}".format
) -> None:
    """Fill an empty index with *keys* objects in one transaction, past its writer."""
    connection = VolumeDatabase(directory).connect()
    try:
        connection.execute("BEGIN IMMEDIATE")
        for table, rows in (
            (version, (_version_row(n) for n in range(keys))),
            (blob, (_blob_row(n, object_id(n)) for n in range(keys))),
            (extent, (_extent_row(n) for n in range(keys))),
        ):
            connection.executemany(str(table.insert().compile(dialect=SQLITE)), rows)
        connection.execute(
            "UPDATE bucket SET key_count = ?, size_bytes = ? WHERE id = ?",
            (keys, keys * SMALL_BYTES, VOLUME_BUCKET_ID),
        )
        connection.execute("COMMIT")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    finally:
        connection.close()


def _commit_rate(directory: Path, threads: int, each: int, *, max_batch: int) -> float:
    directory.mkdir(parents=True)
    store = Store(VolumeDatabase(directory), max_batch=max_batch)
    index = Index(store)

    def work(thread: int) -> None:
        for number in range(each):
            data = Blob("zfs1", f"z1:main:{thread:016x}{number:016x}", 4096)
            draft = Draft(extents=(Extent(data, 0, 4096),), content_type="text/plain")
            index.put(f"folder-{number % 7}/{thread}-{number}", draft)

    try:
        elapsed = timed_threads(threads, work)
        found = index.info().key_count
        if found != threads * each:
            raise AssertionError(f"{found} keys, not {threads * each}")
    finally:
        store.close()
    return threads * each / elapsed


def _median_s(page: Callable[[], object], *, rounds: int = 21) -> float:
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        page()
        times.append(time.perf_counter() - start)
    return sorted(times)[rounds // 2]


def _key(number: int) -> str:
    return f"folder-{number // 1000:06}/object-{number:09}.dat"


def _version_row(number: int) -> dict[str, object]:
    identifier = number.to_bytes(16, "big")
    return {
        "id": number + 1,
        "bucket_id": VOLUME_BUCKET_ID,
        "place": 0,
        "key": _key(number).encode(),
        "version_id": identifier,
        "object_id": identifier,
        "kind": 0,
        "is_null": 1,
        "size": SMALL_BYTES,
        "etag": None,
        "content_type": "application/octet-stream",
        "metadata": None,
        "attributes": None,
        "created_at": 0,
        "modified_at": 0,
    }


def _blob_row(number: int, object_id: str) -> dict[str, object]:
    return {
        "id": number + 1,
        "bucket_id": VOLUME_BUCKET_ID,
        "module": "zfs1",
        "module_data": f"z1:main:{object_id}",
        "size": SMALL_BYTES,
        "refs": 1,
    }


def _extent_row(number: int) -> dict[str, object]:
    return {
        "version": number + 1,
        "ordinal": 0,
        "blob": number + 1,
        "offset": 0,
        "length": SMALL_BYTES,
    }


def main() -> None:
    """Measure both and print one line each."""
    parser = argparse.ArgumentParser(prog="python -m bench.index_commits", description=__doc__)
    parser.add_argument("--dir", type=Path, default=Path("build/bench"), help="on which disk")
    parser.add_argument("--threads", type=int, default=THREADS)
    parser.add_argument("--keys", type=int, default=1_000_000, help="for the listing; 0: none")
    args = parser.parse_args()
    args.dir.mkdir(parents=True, exist_ok=True)
    directory = Path(tempfile.mkdtemp(dir=args.dir, prefix="index-"))
    try:
        rates = measure_commits(directory, threads=args.threads)
        print(
            f"{args.threads} threads: {rates.grouped_per_s:,.0f} commits/s grouped, "
            f"{rates.single_per_s:,.0f}/s one by one, ratio {rates.ratio:.1f}"
        )
        if args.keys:
            times = measure_listing(directory / "listing", keys=args.keys)
            size = (directory / "listing" / f"{DATABASE_NAME}.db").stat().st_size
            print(
                f"{times.keys:,} keys ({size / times.keys:.0f} B each): page of 1,000 in "
                f"{times.first_page_s * 1000:.1f} ms first, {times.last_page_s * 1000:.1f} ms "
                f"last (ratio {times.ratio:.2f}), {times.prefixes_page_s * 1000:.1f} ms rolled up"
            )
    finally:
        shutil.rmtree(directory)


if __name__ == "__main__":
    main()
