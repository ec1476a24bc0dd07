"""Modules that are wrong about snapshots."""

from __future__ import annotations

import json
import os
import sqlite3
import time
import uuid
from collections.abc import Iterable
from contextlib import closing, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

from modules.context import Context
from modules.errors import InvalidName, ObjectNotFound, SnapshotNotFound
from modules.extensions import SweepReport
from modules.streams import ReadStream
from modules.volumes import Snapshot
from tests.conformance.full_storage import FullStorage
from tests.conformance.full_tiers import DELETING, Tiers, snapshot_path
from tests.conformance.wrong_modules.volumes import WithVolumes


class SizeAsText(WithVolumes):
    breaks = "snapshots.create"

    class kind(Tiers):  # noqa: N801 - an attribute of the class around it
        def create_snapshot(self, volume_uuid: str, name: str) -> Snapshot:
            made: Any = super().create_snapshot(volume_uuid, name)
            return {**made, "size_consumed": str(made["size_consumed"])}  # type: ignore[typeddict-item]  # wrong


class SortedByName(WithVolumes):
    breaks = "snapshots.order"

    class kind(Tiers):  # noqa: N801
        def list_snapshots(self, volume_uuid: str) -> list[Snapshot]:
            return sorted(super().list_snapshots(volume_uuid), key=lambda found: found["name"])


class CreatesSnapshotsTwice(WithVolumes):
    breaks = "snapshots.exists"

    class kind(Tiers):  # noqa: N801
        def create_snapshot(self, volume_uuid: str, name: str) -> Snapshot:
            for found in self.list_snapshots(volume_uuid):
                if found["name"] == name:
                    return found
            return super().create_snapshot(volume_uuid, name)


class NoSpaces(WithVolumes):
    breaks = "snapshots.names"

    class kind(Tiers):  # noqa: N801
        def create_snapshot(self, volume_uuid: str, name: str) -> Snapshot:
            if " " in name:
                raise InvalidName("no spaces")
            return super().create_snapshot(volume_uuid, name)


class SilentDeleteOfSnapshots(WithVolumes):
    breaks = "snapshots.absent"

    class kind(Tiers):  # noqa: N801
        def delete_snapshot(self, volume_uuid: str, snapshot_uuid: str) -> None:
            if self.get_snapshot(volume_uuid, snapshot_uuid) is not None:
                super().delete_snapshot(volume_uuid, snapshot_uuid)


class UuidOfTheName(WithVolumes):
    breaks = "snapshots.delete"

    class kind(Tiers):  # noqa: N801
        def freeze(self, path: Path, name: str) -> Snapshot:
            super().freeze(path, name)
            file = path / "snapshots" / name / "snapshot.json"
            record = json.loads(file.read_text())
            own = uuid.UUID(self.read(path)["uuid"])
            file.write_text(json.dumps({**record, "uuid": str(uuid.uuid5(own, name))}))
            return self.snapshot(file.parent)


class ShowsWhatCameLater(FullStorage):
    """Looks into the live volume for what a snapshot has not."""

    breaks = "snapshots.read"

    def available(self, context: Context, module_data: str) -> bool:
        is_there = super().available(context, module_data)
        if not is_there and str(context.get("tenant")).endswith("/frozen"):
            with suppress(SnapshotNotFound):
                self.volume(context)
                return super().available({**context, "snapshot": None}, module_data)
        return is_there


class WritesThroughSnapshots(FullStorage):
    breaks = "snapshots.read-only"

    def live(self, context: Context) -> Context:
        return {**context, "snapshot": None}


class AbsentSnapshotIsAbsentObject(FullStorage):
    breaks = "snapshots.read-absent"

    def get_read_stream(self, context: Context, module_data: str) -> ReadStream:
        try:
            return super().get_read_stream(context, module_data)
        except SnapshotNotFound as error:
            raise ObjectNotFound("it is not there") from error


class SweepsSnapshots(FullStorage):
    breaks = "snapshots.sweep"

    def sweep(
        self, context: Context, live: Iterable[str], *, older_than: timedelta, dry_run: bool = True
    ) -> SweepReport:
        report = super().sweep(context, live, older_than=older_than, dry_run=dry_run)
        for name in report.unreferenced if report.quarantined else ():
            for path in self.volume(context).glob(f"snapshots/*/objects/{name}"):
                os.unlink(path)
        return report


class ObjectsBeforeDatabases(WithVolumes):
    """Copies an index that knows objects which were put after the objects were linked."""

    breaks = "snapshots.state"

    class kind(Tiers):  # noqa: N801
        def freeze(self, path: Path, name: str) -> Snapshot:
            if name.startswith("state-"):
                with DELETING:
                    super().link_objects(path, snapshot_path(path, name))
                self.wait_for_objects_that_stay(path)
            return super().freeze(path, name)

        def link_objects(self, source: Path, target: Path) -> None:
            if not target.name.startswith("state-"):
                super().link_objects(source, target)

        def wait_for_objects_that_stay(self, path: Path) -> None:
            kept = "SELECT count(*) FROM item WHERE seed GLOB 'load * *[02468]'"
            with closing(sqlite3.connect(path / "state/index.db")) as connection:
                (before,) = connection.execute(kept).fetchone()
                deadline = time.monotonic() + 20
                while connection.execute(kept).fetchone() < (before + 3,):  # two may be linked
                    assert time.monotonic() < deadline
                    time.sleep(0.005)  # or the writers would not get their turn
