"""Modules that are wrong about clones."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

from modules.context import Context
from modules.errors import SnapshotNotFound, VolumeNotFound
from modules.streams import SupportsRead
from modules.volumes import Volume
from tests.conformance.full_storage import FullStorage
from tests.conformance.full_tiers import Tiers, snapshot_path
from tests.conformance.wrong_modules.volumes import WithVolumes


class ForgetsTheOrigin(WithVolumes):
    breaks = "clones.create"

    class kind(Tiers):  # noqa: N801 - an attribute of the class around it
        def create_clone(
            self, parent_volume_uuid: str, parent_snapshot_uuid: str, new_name: str
        ) -> Volume:
            made = super().create_clone(parent_volume_uuid, parent_snapshot_uuid, new_name)
            made.pop("clone")
            return made


def parent_of(store: FullStorage, volume: Path) -> Path | None:
    """Return the parent of a clone."""
    found: Any = store.volumes.read(volume) if (volume / "origin").exists() else {}
    return store.volumes.path(found["clone"]["parent_volume"]) if "clone" in found else None


class PutsIntoTheParent(FullStorage):
    breaks = "clones.independent"

    def put(self, context: Context, stream: SupportsRead) -> str:
        name = super().put(context, stream)
        volume = self.volume(context)
        if (parent := parent_of(self, volume)) is not None:
            os.link(volume / "objects" / name, parent / "objects" / name)
        return name


class DeletesInClones(FullStorage):
    breaks = "clones.parent-changes"

    def delete(self, context: Context, module_data: str) -> None:
        super().delete(context, module_data)
        volume = self.volume(context)
        for origin in self.root.glob("*/origin"):
            if parent_of(self, origin.parent) == volume:
                with suppress(FileNotFoundError):
                    os.unlink(origin.parent / "objects" / module_data)


class SharesDatabases(WithVolumes):
    breaks = "clones.state"

    class kind(Tiers):  # noqa: N801
        def create_clone(
            self, parent_volume_uuid: str, parent_snapshot_uuid: str, new_name: str
        ) -> Volume:
            made = super().create_clone(parent_volume_uuid, parent_snapshot_uuid, new_name)
            state = self.path(new_name) / "state"
            shutil.rmtree(state)
            os.symlink(self.place(parent_volume_uuid) / "state", state)
            return made


class WrongErrorForSnapshots(WithVolumes):
    breaks = "clones.refused"

    class kind(Tiers):  # noqa: N801
        def create_clone(
            self, parent_volume_uuid: str, parent_snapshot_uuid: str, new_name: str
        ) -> Volume:
            try:
                return super().create_clone(parent_volume_uuid, parent_snapshot_uuid, new_name)
            except SnapshotNotFound as error:
                raise VolumeNotFound(error.reason) from None


class DeletesUnderClones(WithVolumes):
    breaks = "clones.dependents"

    class kind(Tiers):  # noqa: N801
        def delete_snapshot(self, volume_uuid: str, snapshot_uuid: str) -> None:
            found = self.need_snapshot(volume_uuid, snapshot_uuid)
            shutil.rmtree(snapshot_path(self.place(volume_uuid), found["name"]))


class TakesTheOriginAlong(WithVolumes):
    breaks = "clones.delete"

    class kind(Tiers):  # noqa: N801
        def delete_volume(self, uuid: str) -> None:
            volume = self.require(uuid)
            origin = volume.get("clone")
            super().delete_volume(uuid)
            if origin is not None and volume["name"].endswith("/deleted-clone"):
                parent = self.path(origin["parent_volume"])
                shutil.rmtree(snapshot_path(parent, origin["parent_snapshot"]))
