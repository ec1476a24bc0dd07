"""All tiers of volumes, right and small: snapshots are directories of links and copied databases.

``snapshots/NAME`` in a volume has ``objects``, ``state`` and ``snapshot.json``; a clone has the
uuid of its snapshot in ``origin``. For one process: a lock is all that holds deletes off.
"""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import sqlite3
import tarfile
import threading
import time
import uuid
from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from modules.errors import (
    Conflict,
    HasDependents,
    IntegrityError,
    InvalidArgument,
    InvalidName,
    SnapshotExists,
    SnapshotNotFound,
    VolumeExists,
    VolumeNotFound,
)
from modules.volumes import DestroyPlan, Snapshot, TrashedVolume, Volume
from tests.conformance.directories import Directories

DELETING: Final = threading.RLock()
"""Held by whoever deletes an object, and while a snapshot is made."""

_NAME: Final = re.compile(r"(?!\.{1,2}$)[A-Za-z0-9_.: -]{1,200}")


def snapshot_path(volume: Path, name: str) -> Path:
    """Return where a snapshot of a volume lies."""
    return volume / "snapshots" / name


class Tiers(Directories):
    """Every tier and what operators do."""

    def capabilities(self) -> dict[str, bool]:
        return {"snapshots": True, "clones": True, "replication": True}

    # --- snapshots

    def create_snapshot(self, volume_uuid: str, name: str) -> Snapshot:
        return self.create_snapshots([volume_uuid], name)[0]

    def create_snapshots(self, volume_uuids: Sequence[str], name: str) -> list[Snapshot]:
        paths = [self.place(volume) for volume in volume_uuids]
        if not _NAME.fullmatch(name):
            raise InvalidName("no name of a snapshot", subject=repr(name))
        if any(snapshot_path(path, name).exists() for path in paths):
            raise SnapshotExists("it exists already", subject=name)
        return [self.freeze(path, name) for path in paths]

    def freeze(self, path: Path, name: str) -> Snapshot:
        target = snapshot_path(path, name)
        with DELETING:
            self.copy_databases(path, target)
            self.link_objects(path, target)
        record = {"uuid": str(uuid.uuid4()), "created": time.time_ns()}
        (target / "snapshot.json").write_text(json.dumps(record))
        return self.snapshot(target)

    def copy_databases(self, source: Path, target: Path) -> None:
        (target / "state").mkdir(parents=True)
        for path in (source / "state").glob("*.db"):
            copy = target / "state" / path.name
            with closing(sqlite3.connect(path)) as live, closing(sqlite3.connect(copy)) as frozen:
                live.backup(frozen)

    def link_objects(self, source: Path, target: Path) -> None:
        (target / "objects").mkdir(parents=True)
        for path in (source / "objects").iterdir():
            if not path.name.startswith(".tmp-"):
                os.link(path, target / "objects" / path.name)

    def list_snapshots(self, volume_uuid: str) -> list[Snapshot]:
        paths = (self.place(volume_uuid) / "snapshots").glob("*")
        return [self.snapshot(path) for path in sorted(paths, key=self.created)]

    def created(self, path: Path) -> int:
        return int(json.loads((path / "snapshot.json").read_text())["created"])

    def snapshot(self, path: Path) -> Snapshot:
        record = json.loads((path / "snapshot.json").read_text())
        created = datetime.fromtimestamp(record["created"] / 1e9, UTC)
        return {
            "uuid": record["uuid"],
            "name": path.name,
            "size_consumed": 0,
            "create_time": created.isoformat(),
        }

    def get_snapshot(self, volume_uuid: str, snapshot_uuid: str) -> Snapshot | None:
        listed = self.list_snapshots(volume_uuid)
        return next((found for found in listed if found["uuid"] == snapshot_uuid), None)

    def delete_snapshot(self, volume_uuid: str, snapshot_uuid: str) -> None:
        found = self.need_snapshot(volume_uuid, snapshot_uuid)
        self.refuse_clones([found["uuid"]])
        shutil.rmtree(snapshot_path(self.place(volume_uuid), found["name"]))

    def need_snapshot(self, volume_uuid: str, snapshot_uuid: str) -> Snapshot:
        found = self.get_snapshot(volume_uuid, snapshot_uuid)
        if found is None:
            raise SnapshotNotFound("there is no such snapshot", subject=snapshot_uuid)
        return found

    def refuse_clones(self, snapshots: list[str]) -> None:
        for path in self.root.glob("*/origin"):
            if path.read_text() in snapshots:
                raise HasDependents("it has a clone", subject=path.parent.name)

    # --- clones

    def create_clone(
        self, parent_volume_uuid: str, parent_snapshot_uuid: str, new_name: str
    ) -> Volume:
        snapshot = self.need_snapshot(parent_volume_uuid, parent_snapshot_uuid)
        made = self.create_volume(new_name)
        path = self.path(new_name)
        self.fill(path, snapshot_path(self.place(parent_volume_uuid), snapshot["name"]))
        (path / "origin").write_text(snapshot["uuid"])
        return self.require(made["uuid"])

    def fill(self, path: Path, source: Path) -> None:
        """Replace the content of a volume by a snapshot's."""
        for part in ("objects", "state"):
            shutil.rmtree(path / part)
        shutil.copytree(source / "objects", path / "objects", copy_function=os.link)
        shutil.copytree(source / "state", path / "state")

    def origin(self, path: Path) -> str | None:
        return (path / "origin").read_text() if (path / "origin").exists() else None

    def read(self, path: Path) -> Volume:
        volume = super().read(path)
        origin = self.origin(path)
        for found in self.root.glob("*/snapshots/*") if origin else ():
            if self.snapshot(found)["uuid"] == origin:
                parent = super().read(found.parent.parent)["name"]
                volume["clone"] = {"parent_volume": parent, "parent_snapshot": found.name}
        return volume

    # --- what operators do

    def rename_volume(self, uuid: str, new_name: str) -> Volume:
        path, target = self.place(uuid), self.path(new_name)
        if target.exists():
            raise VolumeExists("it exists already", subject=new_name)
        path.rename(target)
        return self.read(target)

    def promote_volume(self, uuid: str) -> Volume:
        path, volume = self.place(uuid), self.require(uuid)
        if "clone" not in volume:
            raise InvalidArgument("it is no clone", field="uuid")
        parent = self.path(volume["clone"]["parent_volume"])
        origin = snapshot_path(parent, volume["clone"]["parent_snapshot"])
        limit = self.created(origin)
        (parent / "origin").write_text(self.snapshot(origin)["uuid"])
        (path / "snapshots").mkdir(exist_ok=True)
        for snapshot in list((parent / "snapshots").iterdir()):
            if self.created(snapshot) <= limit:
                snapshot.rename(snapshot_path(path, snapshot.name))
        (path / "origin").unlink()
        return self.read(path)

    def rollback_volume(
        self, volume_uuid: str, snapshot_uuid: str, *, destroy_newer: bool = False
    ) -> Volume:
        path = self.place(volume_uuid)
        target = self.need_snapshot(volume_uuid, snapshot_uuid)
        listed = self.list_snapshots(volume_uuid)
        newer = listed[listed.index(target) + 1 :]
        if newer and not destroy_newer:
            raise HasDependents("there are newer snapshots", subject=newer[0]["name"])
        for snapshot in newer:
            self.delete_snapshot(volume_uuid, snapshot["uuid"])
        self.fill(path, snapshot_path(path, target["name"]))
        return self.require(volume_uuid)

    def plan_destroy(self, uuid: str) -> DestroyPlan:
        name = self.require(uuid)["name"]
        snapshots = [f"{name}@{found['name']}" for found in self.list_snapshots(uuid)]
        return DestroyPlan((*snapshots, name), 0)

    def destroy_volume(self, uuid: str) -> None:
        path = self.place(uuid)
        self.refuse_clones([found["uuid"] for found in self.list_snapshots(uuid)])
        shutil.rmtree(path)

    def delete_volume(self, uuid: str) -> None:
        name = self.require(uuid)["name"]
        super().delete_volume(uuid)
        (self.root / ".trash" / uuid / "trashed.json").write_text(
            json.dumps({"name": name, "at": datetime.now(UTC).isoformat()})
        )

    def list_trash(self) -> list[TrashedVolume]:
        found = []
        for path in (self.root / ".trash").glob("*"):
            note = json.loads((path / "trashed.json").read_text())
            moment = datetime.fromisoformat(note["at"])
            found.append(TrashedVolume(path.name, path.name, note["name"], moment, 0))
        return sorted(found, key=lambda entry: entry.id)

    def restore_volume(self, trash_id: str, name: str | None = None) -> Volume:
        entry = next((found for found in self.list_trash() if found.id == trash_id), None)
        if entry is None:
            raise VolumeNotFound("it is not in the trash", subject=trash_id)
        target = self.path(name or entry.name)
        if target.exists():
            raise VolumeExists("it exists already", subject=name or entry.name)
        (self.root / ".trash" / trash_id).rename(target)
        return self.read(target)

    def empty_trash(self, *, older_than: timedelta, dry_run: bool = True) -> list[TrashedVolume]:
        limit = datetime.now(UTC) - older_than
        old = [
            entry for entry in self.list_trash() if entry.trashed_at and entry.trashed_at <= limit
        ]
        for entry in () if dry_run else old:
            shutil.rmtree(self.root / ".trash" / entry.id)
        return old

    # --- streams: a tar of the snapshot, also when there is a base

    def send_stream(self, volume: str, snapshot: str, base: str | None = None) -> Any:
        path = self.path(volume)
        listed = (
            [found["name"] for found in self.list_snapshots(super().read(path)["uuid"])]
            if path.is_dir()
            else []
        )
        if snapshot not in listed or (
            base is not None and base not in listed[: listed.index(snapshot)]
        ):
            raise InvalidArgument("there is no such snapshot, or base", field="snapshot")
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as archive:
            archive.add(snapshot_path(path, snapshot), snapshot)
        of = "" if base is None else self.snapshot(snapshot_path(path, base))["uuid"]
        return io.BytesIO(f"{of or '-':36}{buffer.tell():20}".encode() + buffer.getvalue())

    def receive_stream(self, destination: str, stream: Any) -> int:
        content = stream.read()
        base, size, body = content[:36].strip(), content[36:56].strip(), content[56:]
        if not size.isdigit() or len(body) < int(size):
            raise IntegrityError("the stream is cut off")
        aside = self.root / f".receiving-{uuid.uuid4()}"
        try:
            with tarfile.open(fileobj=io.BytesIO(body)) as archive:
                archive.extractall(aside, filter="data")
            self.take(destination, next(aside.iterdir()), base.decode())
        finally:
            shutil.rmtree(aside)
        return len(content)

    def take(self, destination: str, snapshot: Path, base: str) -> None:
        if base == "-":
            self.create_volume(destination)
        path = self.path(destination)
        listed = self.list_snapshots(super().read(path)["uuid"])
        if base != "-" and (not listed or listed[-1]["uuid"] != base):
            raise Conflict("its newest snapshot is not the base", subject=destination)
        target = snapshot_path(path, snapshot.name)
        target.parent.mkdir(exist_ok=True)
        snapshot.rename(target)
        self.fill(path, target)

    def place(self, uuid: str) -> Path:
        return self.path(self.require(uuid)["name"])
