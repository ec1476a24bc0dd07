"""A right module with every optional contract, small enough to be read: what wrong ones start from.

Each volume is a directory with a SimpleStorage, a state directory and a quarantine in it.
"""

from __future__ import annotations

import json
import os
import time
import uuid
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from modules import StorageModule
from modules.context import Context, text
from modules.durable import durable_file
from modules.errors import InvalidName, VolumeExists, VolumeNotFound
from modules.extensions import SweepReport
from modules.streams import ReadStream, SupportsRead
from modules.volumes import Volume
from simple.simple import SimpleStorage

NO_TENANT = "%"  # the directory of the bare context; no quoted name is this


class Directories:
    """The volumes: a directory each, with its uuid and size in ``volume.json``."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def capabilities(self) -> dict[str, bool]:
        return {"snapshots": False, "clones": False, "replication": False}

    def create_volume(self, name: str, size_bytes: int | None = None) -> Volume:
        parts = name.split("/")
        if not 1 <= len(parts) <= 2 or not all(parts) or "\0" in name or not _is_utf8(name):
            raise InvalidName("a volume is named tenant or tenant/bucket", subject=repr(name))
        if len(parts) == 2 and not self.path(parts[0]).is_dir():
            raise VolumeNotFound("there is no such tenant", subject=parts[0])
        path = self.path(name)
        try:
            path.mkdir()
        except FileExistsError:
            raise VolumeExists("it exists already", subject=name) from None
        for part in ("objects", "state", "quarantine"):
            (path / part).mkdir()
        return self.write(path, str(uuid.uuid4()), size_bytes)

    def list_volumes(self) -> list[Volume]:
        paths = [path for path in self.root.iterdir() if (path / "volume.json").exists()]
        volumes = [self.read(path) for path in paths if path.name != NO_TENANT]
        return sorted(volumes, key=lambda volume: volume["name"])

    def get_volume(self, uuid: str) -> Volume | None:
        return next((found for found in self.list_volumes() if found["uuid"] == uuid), None)

    def delete_volume(self, uuid: str) -> None:
        path = self.path(self.require(uuid)["name"])
        trash = self.root / ".trash"
        trash.mkdir(exist_ok=True)
        path.rename(trash / uuid)

    def patch_volume(
        self,
        uuid: str,
        size_bytes: int | None = None,
        junction_path: str | None = None,
        export_policy: str | None = None,
    ) -> Volume:
        volume = self.require(uuid)
        if size_bytes is None:
            return volume
        return self.write(self.path(volume["name"]), uuid, size_bytes)

    def access_handle(self, uuid: str) -> dict[str, Any]:
        return {"kind": "directory", "path": str(self.path(self.require(uuid)["name"]))}

    def require(self, uuid: str) -> Volume:
        volume = self.get_volume(uuid)
        if volume is None:
            raise VolumeNotFound("there is no such volume", subject=uuid)
        return volume

    def path(self, name: str) -> Path:
        return self.root / quote(name, safe="").replace(".", "%2E")

    def write(self, path: Path, uuid: str, size_bytes: int | None) -> Volume:
        with durable_file(path / "volume.json") as file:
            file.write(json.dumps({"uuid": uuid, "size_bytes": size_bytes}).encode())
        return self.read(path)

    def read(self, path: Path) -> Volume:
        stored = json.loads((path / "volume.json").read_text())
        return {
            "uuid": stored["uuid"],
            "name": unquote(path.name),
            "size_bytes": stored["size_bytes"],
            "state": "online",
            "style": "flexvol",
            "vol_type": "rw",
        }


def _is_utf8(name: str) -> bool:
    return name.encode("utf-8", "replace").decode() == name


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
        self.volumes = Directories(self.root)

    def volume(self, context: Context) -> Path:
        tenant = text(context, "tenant")
        path = self.volumes.path(tenant) if tenant else self.root / NO_TENANT
        if not path.is_dir():
            raise VolumeNotFound("there is no such volume", subject=tenant)
        return path

    def leaf(self, context: Context) -> SimpleStorage:
        return SimpleStorage(str(self.volume(context) / "objects"))

    def available(self, context: Context, module_data: str) -> bool:
        return self.leaf(context).available(context, module_data)

    def put(self, context: Context, stream: SupportsRead) -> str:
        return self.leaf(context).put(context, stream)

    def get_read_stream(self, context: Context, module_data: str) -> ReadStream:
        return self.leaf(context).get_read_stream(context, module_data)

    def delete(self, context: Context, module_data: str) -> None:
        self.leaf(context).delete(context, module_data)

    def statistics(self, context: Context) -> dict[str, Any]:
        return self.leaf(context).statistics(context)

    def capabilities(self, context: Context) -> Mapping[str, Any]:
        return {"cdmi_dataobjects": "true", "cdmi_encryption": []}

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
