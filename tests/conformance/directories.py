"""Volumes as directories, right and small: the tier that every backend has."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from modules.durable import durable_file
from modules.errors import InvalidName, VolumeExists, VolumeNotFound
from modules.volumes import Volume

NO_TENANT = "%"  # the directory of the bare context; no quoted name is this


class Directories:
    """The volumes: a directory each, with its uuid and size in ``volume.json``."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.known: dict[str, Path] = {}  # by uuid; where it was last seen

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
        path = self.known.get(uuid)
        if path is not None and (path / "volume.json").exists():
            found = self.read(path)
            if found["uuid"] == uuid:
                return found
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
        self.known[stored["uuid"]] = path
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
