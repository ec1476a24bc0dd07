"""Makes deduplicating wrappers for tests, and contents of all kinds."""

from __future__ import annotations

import contextlib
import io
import random
import sqlite3
from collections.abc import Iterable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

from modules.conformance import ModuleSpec
from modules.conformance.spec import Modules
from modules.context import Context
from modules.streams import SupportsRead
from modules.wrappers.dedup import DedupStorage

DEDUP = "modules.wrappers.dedup.DedupStorage"
SIMPLE = "simple.simple.SimpleStorage"
PACK = 1 << 20
NOW = timedelta(0)


def dedup(inner: str, **args: Any) -> ModuleSpec:
    """Return how a deduplicating wrapper around *inner* is configured."""
    return ModuleSpec(DEDUP, {"inner": inner, "pack_bytes": PACK, **args})


def noise(seed: int, size: int) -> bytes:
    """Return bytes that neither compress nor repeat."""
    return random.Random(seed).randbytes(size)


class Vault:
    """A deduplicating wrapper around a module, a SimpleStorage if none is given."""

    def __init__(self, directory: Path, leaf: ModuleSpec | None = None, **args: Any) -> None:
        self.directory = directory
        self.objects = directory / "objects"
        self.context: Context = {}
        self.args = args
        if leaf is None:
            leaf = ModuleSpec(SIMPLE, {"storage_dir": str(self.objects)})
            place = {} if "index" in args else {"state_dir": str(directory / "state")}
            self.args = {**place, **args}
        self.leaf = leaf
        self.reopen()

    def reopen(self) -> None:
        """Take a new instance, which has seen nothing."""
        self.modules = Modules({"leaf": self.leaf, "dedup": dedup("leaf", **self.args)})
        module = self.modules.get("dedup")
        assert isinstance(module, DedupStorage)
        self.module = module
        self.inner: Any = self.modules.get("leaf")

    def put(self, data: bytes | SupportsRead) -> str:
        return self.module.put(self.context, io.BytesIO(data) if isinstance(data, bytes) else data)

    def get(self, module_data: str) -> bytes:
        with self.module.get_read_stream(self.context, module_data) as stream:
            return stream.read()

    def delete(self, module_data: str) -> None:
        self.module.delete(self.context, module_data)

    def collect(self) -> Any:
        return self.module.collect(self.context, grace=NOW)

    def check(self, expected: dict[str, bytes]) -> None:
        """Fail unless everything is consistent, and exactly these objects are there."""
        report = self.module.fsck(self.context, level=3)
        assert report.is_clean, report.problems
        assert len(expected) == report.objects
        for module_data, data in expected.items():
            assert data == self.get(module_data)

    @property
    def database(self) -> Path:
        (found,) = self.directory.glob("state/*/dedup.db")
        return found

    def statistics(self) -> dict[str, int]:
        found: dict[str, int] = self.module.statistics(self.context)["deduplication"]
        return found


def contents() -> Iterable[bytes]:
    """Yield contents of all kinds that the chunker and the codecs tell apart."""
    base = noise(1, 1_500_000)
    yield b""
    yield b"x"
    yield base
    yield base[:700_000] + b"!" + base[700_000:]
    yield bytes(3_000_000)
    yield b"a line of text\n" * 50_000
    yield noise(2, 70_000)


@contextlib.contextmanager
def sql(vault: Vault) -> Iterator[sqlite3.Connection]:
    with contextlib.closing(sqlite3.connect(vault.database, isolation_level=None)) as connection:
        yield connection


def packs(vault: Vault) -> list[Path]:
    return sorted(path for path in vault.objects.rglob("*") if path.is_file())


def overwrite(path: Path, data: bytes) -> None:
    path.chmod(0o644)
    path.write_bytes(data)
