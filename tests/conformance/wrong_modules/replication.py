"""Modules that are wrong about streams."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from modules.errors import Conflict, IntegrityError
from tests.conformance.full_tiers import Tiers, snapshot_path
from tests.conformance.wrong_modules.volumes import WithVolumes


class CountsNothing(WithVolumes):
    breaks = "replication.full"

    class kind(Tiers):  # noqa: N801 - an attribute of the class around it
        def receive_stream(self, destination: str, stream: Any) -> int:
            super().receive_stream(destination, stream)
            return 0


class LosesDatabases(WithVolumes):
    breaks = "replication.state"

    class kind(Tiers):  # noqa: N801
        def take(self, destination: str, snapshot: Path, base: str) -> None:
            for path in (snapshot / "state").iterdir():
                path.unlink()
            super().take(destination, snapshot, base)


class KeepsTheOldContent(WithVolumes):
    breaks = "replication.incremental"

    class kind(Tiers):  # noqa: N801
        def take(self, destination: str, snapshot: Path, base: str) -> None:
            super().take(destination, snapshot, base)
            if base != "-":
                path = self.path(destination)
                listed = self.list_snapshots(self.read(path)["uuid"])
                self.fill(path, snapshot_path(path, listed[0]["name"]))


class RefusesLate(WithVolumes):
    breaks = "replication.unknown"

    class kind(Tiers):  # noqa: N801
        def send_stream(self, volume: str, snapshot: str, base: str | None = None) -> Any:
            return _Late(lambda: super(type(self), self).send_stream(volume, snapshot, base))


class _Late:
    def __init__(self, send: Any) -> None:
        self._send = send
        self._stream: Any = None

    def read(self, size: int = -1) -> bytes:
        if self._stream is None:
            self._stream = self._send()
        data: bytes = self._stream.read(size)
        return data

    def close(self) -> None:
        pass


class ReplacesVolumes(WithVolumes):
    breaks = "replication.exists"

    class kind(Tiers):  # noqa: N801
        def take(self, destination: str, snapshot: Path, base: str) -> None:
            path = self.path(destination)
            if base != "-" or not path.is_dir():
                super().take(destination, snapshot, base)
            else:
                shutil.rmtree(path / "objects")
                shutil.copytree(snapshot / "objects", path / "objects")


class TakesAnyBase(WithVolumes):
    breaks = "replication.diverged"

    class kind(Tiers):  # noqa: N801
        def take(self, destination: str, snapshot: Path, base: str) -> None:
            try:
                super().take(destination, snapshot, base)
            except Conflict:
                self.fill(self.path(destination), snapshot)


class LeavesHalf(WithVolumes):
    breaks = "replication.broken"

    class kind(Tiers):  # noqa: N801
        def receive_stream(self, destination: str, stream: Any) -> int:
            try:
                return super().receive_stream(destination, stream)
            except IntegrityError:
                self.create_volume(destination)
                raise
