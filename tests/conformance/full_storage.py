"""A right module with every optional contract, small enough to be read: what wrong ones start from.

Each volume is a directory with a SimpleStorage, a state directory and a quarantine in it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

from modules import StorageModule
from modules.context import Context, text
from modules.errors import InvalidArgument, SnapshotNotFound, VolumeNotFound
from modules.extensions import SweepReport
from modules.streams import ReadStream, SupportsRead
from simple.simple import SimpleStorage
from tests.conformance.directories import NO_TENANT, Directories
from tests.conformance.full_tiers import DELETING, Tiers, snapshot_path


class Chain:
    """Several streams, one after the other."""

    def __init__(self, streams: list[ReadStream]) -> None:
        self.streams = streams

    def read(self, size: int, /) -> bytes:
        while self.streams:
            if block := self.streams[0].read(size):
                return block
            self.streams.pop(0)
        return b""


class FullStorage(StorageModule):
    """Objects in volumes, with state_dir, sweep, copy and compose."""

    def __init__(self, storage_dir: str) -> None:
        self.root = Path(storage_dir)
        for part in ("objects", "state", "quarantine"):
            (self.root / NO_TENANT / part).mkdir(parents=True, exist_ok=True)
        self.volumes: Directories = Tiers(self.root)

    def volume(self, context: Context) -> Path:
        tenant = text(context, "tenant")
        path = self.volumes.path(tenant) if tenant else self.root / NO_TENANT
        if not path.is_dir():
            raise VolumeNotFound("there is no such volume", subject=tenant)
        snapshot = text(context, "snapshot")
        if snapshot is not None:
            path = snapshot_path(path, snapshot)
            if not path.is_dir():
                raise SnapshotNotFound("there is no such snapshot", subject=snapshot)
        return path

    def live(self, context: Context) -> Context:
        """Return the context, which must not name a snapshot."""
        if context.get("snapshot") is not None:
            raise InvalidArgument("a snapshot cannot be changed", field="context.snapshot")
        return context

    def leaf(self, context: Context) -> SimpleStorage:
        return SimpleStorage(str(self.volume(context) / "objects"))

    def available(self, context: Context, module_data: str) -> bool:
        try:
            return self.leaf(context).available(context, module_data)
        except SnapshotNotFound:
            return False

    def put(self, context: Context, stream: SupportsRead) -> str:
        return self.leaf(self.live(context)).put(context, stream)

    def get_read_stream(self, context: Context, module_data: str) -> ReadStream:
        return self.leaf(context).get_read_stream(context, module_data)

    def delete(self, context: Context, module_data: str) -> None:
        with DELETING:
            self.leaf(self.live(context)).delete(context, module_data)

    def statistics(self, context: Context) -> dict[str, Any]:
        return self.leaf(context).statistics(context)

    def capabilities(self, context: Context) -> Mapping[str, Any]:
        claims = {"cdmi_snapshots": "true"} if isinstance(self.volumes, Tiers) else {}
        return {"cdmi_dataobjects": "true", "cdmi_encryption": [], **claims}

    def state_dir(self, context: Context) -> Path:
        return self.volume(context) / "state"

    def sweep(
        self, context: Context, live: Iterable[str], *, older_than: timedelta, dry_run: bool = True
    ) -> SweepReport:
        keep, volume = set(live), self.volume(context)
        found = {path.name: path for path in (volume / "objects").iterdir()}
        lost = {name: path for name, path in found.items() if name not in keep}
        limit = time.time() - older_than.total_seconds()
        old = {name: path for name, path in lost.items() if path.stat().st_mtime <= limit}
        size = sum(path.stat().st_size for path in old.values())
        if not dry_run:
            for name, path in old.items():
                os.rename(path, volume / "quarantine" / name)
        return SweepReport(
            scanned=len(found),
            unreferenced=tuple(sorted(old)),
            unreferenced_bytes=size,
            quarantined=not dry_run,
            too_young=len(lost) - len(old),
            missing=tuple(sorted(keep - set(found))),
        )

    def copy(self, source_context: Context, module_data: str, context: Context) -> str:
        with self.get_read_stream(source_context, module_data) as stream:
            return self.put(context, stream)

    def compose(self, context: Context, parts: Iterable[str]) -> str:
        with ExitStack() as stack:
            names = list(parts)
            streams = [self.get_read_stream(context, name) for name in names]
            for stream in streams:
                stack.enter_context(stream)
            return self.put(context, Chain(streams))
