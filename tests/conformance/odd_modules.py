"""Modules that show how the runner behaves, not that a rule catches anything."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path

from modules.context import Context
from modules.extensions import SweepReport
from modules.streams import SupportsRead
from modules.volumes import Volume
from simple.simple import SimpleStorage
from tests.conformance.directories import Directories
from tests.conformance.full_storage import FullStorage


class SweepingEverything(SimpleStorage):
    """Sweeps its directory, in which others may keep objects too."""

    def sweep(
        self, context: Context, live: Iterable[str], *, older_than: timedelta, dry_run: bool = True
    ) -> SweepReport:
        for path in Path(self._directory).iterdir():
            path.unlink()
        return SweepReport(scanned=0)


class PutRaises(SimpleStorage):
    """Has a mistake in put."""

    def put(self, context: Context, stream: SupportsRead) -> str:
        return str(1 // 0)


class NoVolumeCanBeMade(FullStorage):
    """Offers volumes on a file system mounted read-only."""

    def __init__(self, storage_dir: str) -> None:
        super().__init__(storage_dir)
        self.volumes = _ReadOnly(self.root)


class _ReadOnly(Directories):
    def create_volume(self, name: str, size_bytes: int | None = None) -> Volume:
        raise OSError("read-only")
