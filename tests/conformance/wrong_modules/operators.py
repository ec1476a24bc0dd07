"""Modules that are wrong about what operators do."""

from __future__ import annotations

import shutil
import uuid as uuids
from collections.abc import Sequence
from datetime import timedelta

from modules.volumes import Snapshot, TrashedVolume, Volume
from tests.conformance.full_tiers import Tiers
from tests.conformance.wrong_modules.volumes import WithVolumes


class RollsObjectsBackOnly(WithVolumes):
    breaks = "operator.rollback"

    class kind(Tiers):  # noqa: N801 - an attribute of the class around it
        def rollback_volume(
            self, volume_uuid: str, snapshot_uuid: str, *, destroy_newer: bool = False
        ) -> Volume:
            state = self.place(volume_uuid) / "state"
            kept = {path: path.read_bytes() for path in state.iterdir()}
            made = super().rollback_volume(volume_uuid, snapshot_uuid, destroy_newer=destroy_newer)
            for path, content in kept.items():
                path.write_bytes(content)
            return made


class DestroysNewerUnasked(WithVolumes):
    breaks = "operator.rollback-newer"

    class kind(Tiers):  # noqa: N801
        def rollback_volume(
            self, volume_uuid: str, snapshot_uuid: str, *, destroy_newer: bool = False
        ) -> Volume:
            return super().rollback_volume(volume_uuid, snapshot_uuid, destroy_newer=True)


class RenamesByCopy(WithVolumes):
    breaks = "operator.rename"

    class kind(Tiers):  # noqa: N801
        def rename_volume(self, uuid: str, new_name: str) -> Volume:
            old = self.place(uuid)
            made = super().rename_volume(uuid, new_name)
            shutil.copytree(self.path(new_name), old)
            return made


class KeepsTheSnapshots(WithVolumes):
    """Only forgets that it was a clone."""

    breaks = "operator.promote"

    class kind(Tiers):  # noqa: N801
        def promote_volume(self, uuid: str) -> Volume:
            path = self.place(uuid)
            (path / "origin").unlink()
            return self.read(path)


class RestoresWithANewUuid(WithVolumes):
    breaks = "operator.trash"

    class kind(Tiers):  # noqa: N801
        def restore_volume(self, trash_id: str, name: str | None = None) -> Volume:
            made = super().restore_volume(trash_id, name)
            return self.write(self.path(made["name"]), str(uuids.uuid4()), made["size_bytes"])


class EmptiesAtOnce(WithVolumes):
    breaks = "operator.trash-kept"

    class kind(Tiers):  # noqa: N801
        def empty_trash(
            self, *, older_than: timedelta, dry_run: bool = True
        ) -> list[TrashedVolume]:
            return super().empty_trash(older_than=older_than, dry_run=False)


class DestroysIntoTheTrash(WithVolumes):
    breaks = "operator.destroy"

    class kind(Tiers):  # noqa: N801
        def destroy_volume(self, uuid: str) -> None:
            self.refuse_clones([found["uuid"] for found in self.list_snapshots(uuid)])
            self.delete_volume(uuid)


class FreezesWhatItCan(WithVolumes):
    breaks = "operator.snapshots"

    class kind(Tiers):  # noqa: N801
        def create_snapshots(self, volume_uuids: Sequence[str], name: str) -> list[Snapshot]:
            made = []
            for volume in volume_uuids:
                made += super().create_snapshots([volume], name)
            return made
