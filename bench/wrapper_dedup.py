"""DedupStorage above EncryptedStorage against ``ref_gcm``; and its index by itself."""

from __future__ import annotations

import os
import random
import sysconfig
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Final

from bench.cpu import GcmReference, Row, cpu_seconds, peak_mib, speed_ratio
from bench.settings import Settings
from bench.wrapper_encryption import encrypting
from modules import StorageModule
from modules.wrappers.dedup import DedupStorage
from modules.wrappers.dedup.domain import Domain
from modules.wrappers.dedup.format import DATA, RAW, RECIPE, Blob
from modules.wrappers.dedup.index import Index
from modules.wrappers.dedup.rows import BATCH
from modules.wrappers.dedup.sqlite_database import SQLiteDatabase
from simple.simple import SimpleStorage

BLOCK_BYTES: Final = 1 << 20
_PACK_BLOBS: Final = 210
_CHUNKS: Final = 100 * _PACK_BLOBS
_EDITED: Final = 0.03
_NOW: Final = timedelta(0)


def deduplicating(inner: StorageModule, directory: Path) -> DedupStorage:
    """Return a deduplicating wrapper around *inner*."""
    module = DedupStorage(inner="inner", state_dir=str(directory / "state"))
    module.bind(lambda name: inner)
    return module


def dedup_rows(settings: Settings, directory: Path) -> list[Row]:
    """Return the rows of the deduplicating wrapper."""
    source = directory / "source"
    with open(source, "wb") as file:
        for _ in range(settings.large_bytes // BLOCK_BYTES):
            file.write(os.urandom(BLOCK_BYTES))  # nothing in it is there twice
    files = SimpleStorage(storage_dir=str(directory / "objects"))
    module = deduplicating(encrypting(files, directory), directory)
    return [
        *_streams(settings, source, module),
        *_growth(directory),
        *_index(directory / "index"),
    ]


def _streams(settings: Settings, source: Path, module: DedupStorage) -> Iterator[Row]:
    reference = GcmReference(source, source.with_name("reference"))
    reference.put()
    made: list[str] = []

    def put(domain: str) -> str:
        with open(source, "rb", buffering=0) as file:
            context = {"content_length": settings.large_bytes, "key_domain": domain}
            return module.put(context, file)

    def clear() -> None:
        while made:
            module.delete({"key_domain": "new"}, made.pop())
        module.collect({"key_domain": "new"}, grace=_NOW)

    def get() -> None:
        with closing(module.get_read_stream({"key_domain": "known"}, known)) as stream:
            while stream.read(BLOCK_BYTES):
                pass

    known = put("known")
    spent: dict[str, list[float]] = {}
    for _ in range(settings.rounds):
        clear()
        actions = {
            "new": lambda: made.append(put("new")),
            "ref put": reference.put,
            "known": lambda: module.delete({"key_domain": "known"}, put("known")),
            "ref get": reference.get,
            "get": get,
        }
        for name, seconds in _once(actions).items():
            spent.setdefault(name, []).append(seconds)
    yield from _speeds(spent)
    clear()
    yield Row("memory of a put of new data", peak_mib(lambda: made.append(put("new"))), "MiB", 48)
    yield Row("memory of a get", peak_mib(get), "MiB", 48)
    clear()
    module.delete({"key_domain": "known"}, known)
    module.collect({"key_domain": "known"}, grace=_NOW)


def _speeds(spent: Mapping[str, list[float]]) -> Iterator[Row]:
    yield Row(
        "put of new data, E1 below, to ref_gcm", speed_ratio(spent, "new", "ref put"), "x", 0.25
    )
    yield Row("put of known data, to ref_gcm", speed_ratio(spent, "known", "ref put"), "x", 0.5)
    yield Row("sequential get, to ref_gcm", speed_ratio(spent, "get", "ref get"), "x", 0.45)


def _once(actions: Mapping[str, object]) -> dict[str, float]:
    """Return the CPU seconds of each action, run once: a second put of new data is none."""
    spent: dict[str, float] = {}
    for name, action in actions.items():
        assert callable(action)
        start = time.process_time()
        action()
        spent[name] = time.process_time() - start
    return spent


def _growth(directory: Path) -> Iterator[Row]:
    """Yield how much is stored for a second version of a corpus, of the size of the first."""
    files = SimpleStorage(storage_dir=str(directory / "versions"))
    module = DedupStorage(inner="inner", state_dir=str(directory / "versions-state"), codec="none")
    module.bind(lambda name: files)
    sizes = []
    for version in range(2):
        module.put({}, _Concatenated(_corpus(version)))
        sizes.append(module.statistics({})["deduplication"]["stored_bytes"])
    growth = 100 * (sizes[1] - sizes[0]) / sizes[0]
    yield Row("growth, 3 % of shared libraries edited", growth, "%", 6)


def _corpus(version: int) -> Iterator[bytes]:
    """Yield the shared libraries of Python packages; in the next version some have an insert."""
    rng = random.Random(1)
    library = Path(sysconfig.get_paths()["platlib"])
    left = 128 << 20
    for path in sorted(library.rglob("*.so*")):
        if left <= 0:
            return
        content = path.read_bytes() if path.is_file() else b""
        left -= len(content)
        if rng.random() < _EDITED and version:
            at = rng.randrange(len(content) + 1)
            content = content[:at] + b"a line that is new\n" + content[at:]
        yield content


class _Concatenated:
    """The contents one behind the other."""

    def __init__(self, parts: Iterator[bytes]) -> None:
        self._parts = parts

    def read(self, size: int = -1, /) -> bytes:
        part = next((part for part in self._parts if part), b"")
        if len(part) > size > 0:
            self._parts = iter((part[size:], *self._parts))
            return part[:size]
        return part


def _index(directory: Path) -> Iterator[Row]:
    directory.mkdir()
    database = SQLiteDatabase(directory)
    index = Index(database)
    index.domain(lambda: Domain.make("bench"))
    ids = [os.urandom(32) for _ in range(_CHUNKS)]

    def fill() -> None:
        for number, start in enumerate(range(0, _CHUNKS, _PACK_BLOBS)):
            blobs = [
                Blob(DATA, id_, n * 80_000, 80_000, 80_000, RAW)
                for n, id_ in enumerate(ids[start : start + _PACK_BLOBS])
            ]
            node = Blob(RECIPE, os.urandom(32), 16 << 20, 7600, 7600, RAW)
            children = {node.id: frozenset(blob.id for blob in blobs)}
            uid = os.urandom(16)
            index.open_pack(uid)
            index.commit_pack(uid, f"pack {number}", 16 << 20, [*blobs, node], children)

    def look_up() -> None:
        for start in range(0, _CHUNKS, BATCH):
            index.find(ids[start : start + BATCH])

    filling = _once({"fill": fill})["fill"]
    looking = min(cpu_seconds({"look up": look_up}, 3)["look up"])
    database.close()
    size = (directory / "dedup.db").stat().st_size
    yield Row("index: microseconds to record a chunk", filling / _CHUNKS * 1e6, "us", 20)
    yield Row("index: microseconds to find a chunk, of 256", looking / _CHUNKS * 1e6, "us", 4)
    yield Row("index: bytes of a chunk", size / _CHUNKS, "B", 80)
