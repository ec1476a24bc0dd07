"""Modules that are wrong about volumes."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from modules.context import Context
from modules.errors import InvalidArgument, InvalidName, VolumeNotFound
from modules.extensions import SweepReport
from modules.streams import SupportsRead
from modules.volumes import Volume
from tests.conformance.directories import Directories
from tests.conformance.full_storage import FullStorage
from tests.conformance.full_tiers import Tiers


class WithVolumes(FullStorage):
    """Has its own kind of volumes."""

    kind: type[Directories] = Directories

    def __init__(self, storage_dir: str) -> None:
        super().__init__(storage_dir)
        self.volumes = self.kind(Path(storage_dir))


class ClaimsSnapshots(WithVolumes):
    breaks = "volumes.tiers"

    class kind(Directories):  # noqa: N801 - an attribute of the class around it
        def capabilities(self) -> dict[str, bool]:
            return {"snapshots": True, "clones": False, "replication": False}


class HidesSnapshots(WithVolumes):
    breaks = "volumes.tiers"

    class kind(Tiers):  # noqa: N801
        def capabilities(self) -> dict[str, bool]:
            return {"snapshots": False, "clones": False, "replication": False}


class PublishesSnapshots(WithVolumes):
    breaks = "volumes.snapshot-claim"

    def capabilities(self, context: Context) -> Mapping[str, Any]:
        return {"cdmi_snapshot": "true"}


class KeepsSnapshotsToItself(FullStorage):
    breaks = "volumes.snapshot-claim"

    def capabilities(self, context: Context) -> Mapping[str, Any]:
        return {}


class ForgetsTheSize(WithVolumes):
    breaks = "volumes.create"

    class kind(Directories):  # noqa: N801
        def create_volume(self, name: str, size_bytes: int | None = None) -> Volume:
            if name.endswith("/created"):
                return super().create_volume(name, None)
            return super().create_volume(name, size_bytes)


class Unsorted(WithVolumes):
    breaks = "volumes.sorted"

    class kind(Directories):  # noqa: N801
        def list_volumes(self) -> list[Volume]:
            return super().list_volumes()[::-1]


class UuidPerInstance(WithVolumes):
    breaks = "volumes.durable-uuid"

    class kind(Directories):  # noqa: N801
        def __init__(self, root: Path) -> None:
            super().__init__(root)
            self.salt = uuid.uuid4()

        def read(self, path: Path) -> Volume:
            volume = super().read(path)
            volume["uuid"] = str(uuid.uuid5(self.salt, volume["uuid"]))
            return volume

        def write(self, path: Path, uuid: str, size_bytes: int | None) -> Volume:
            if path.joinpath("volume.json").exists():
                uuid = super().read(path)["uuid"]
            return super().write(path, uuid, size_bytes)


class CreatesTwice(WithVolumes):
    breaks = "volumes.exists"

    class kind(Directories):  # noqa: N801
        def create_volume(self, name: str, size_bytes: int | None = None) -> Volume:
            if name.endswith("/objects") and self.path(name).is_dir():
                return self.read(self.path(name))
            return super().create_volume(name, size_bytes)


class OrphanBuckets(WithVolumes):
    breaks = "volumes.parent"

    class kind(Directories):  # noqa: N801
        def create_volume(self, name: str, size_bytes: int | None = None) -> Volume:
            tenant, _, bucket = name.partition("/")
            if tenant.endswith("-absent") and bucket:
                return self.get_volume("") or self.list_volumes()[0]
            return super().create_volume(name, size_bytes)


class SilentDelete(WithVolumes):
    breaks = "volumes.absent"

    class kind(Directories):  # noqa: N801
        def delete_volume(self, uuid: str) -> None:
            if self.get_volume(uuid):
                super().delete_volume(uuid)


class KeepsTheUuid(WithVolumes):
    """Derives the uuid from the name."""

    breaks = "volumes.delete"

    class kind(Directories):  # noqa: N801
        def create_volume(self, name: str, size_bytes: int | None = None) -> Volume:
            super().create_volume(name, size_bytes)
            derived = str(uuid.uuid5(uuid.NAMESPACE_URL, name.encode().hex()))
            return self.write(self.path(name), derived, size_bytes)

        def delete_volume(self, uuid: str) -> None:
            trash = self.root / ".trash"
            if (trash / uuid).exists():
                os.rename(trash / uuid, trash / os.urandom(8).hex())
            super().delete_volume(uuid)


class PatchForgets(WithVolumes):
    """Takes None for no quota."""

    breaks = "volumes.patch"

    class kind(Directories):  # noqa: N801
        def patch_volume(
            self,
            uuid: str,
            size_bytes: int | None = None,
            junction_path: str | None = None,
            export_policy: str | None = None,
        ) -> Volume:
            return self.write(self.path(self.require(uuid)["name"]), uuid, size_bytes)


class AsciiNames(WithVolumes):
    breaks = "volumes.names"

    class kind(Directories):  # noqa: N801
        def create_volume(self, name: str, size_bytes: int | None = None) -> Volume:
            if not name.isascii() and "\ud800" not in name:
                raise InvalidName("letters only")
            return super().create_volume(name, size_bytes)


class WrongErrorForNames(WithVolumes):
    breaks = "volumes.invalid-names"

    class kind(Directories):  # noqa: N801
        def create_volume(self, name: str, size_bytes: int | None = None) -> Volume:
            try:
                return super().create_volume(name, size_bytes)
            except InvalidName as error:
                raise InvalidArgument(error.reason) from None


class CreatesOnPut(FullStorage):
    """Makes a volume out of a typing error."""

    breaks = "volumes.put-absent"

    def put(self, context: Context, stream: SupportsRead) -> str:
        try:
            return super().put(context, stream)
        except VolumeNotFound:
            tenant = str(context["tenant"])
            for name in (tenant.split("/")[0], tenant):
                if not self.volumes.path(name).exists():
                    self.volumes.create_volume(name)
            return super().put(context, stream)


class OnePlaceForAll(WithVolumes):
    """Checks that the volume is there, and stores elsewhere."""

    breaks = "volumes.apart"

    def available(self, context: Context, module_data: str) -> bool:
        return super().available(context, module_data) or self.leaf({}).available({}, module_data)

    def put(self, context: Context, stream: SupportsRead) -> str:
        name = super().put(context, stream)
        own, shared = (self.volume(c) / "objects" / name for c in (context, {}))
        if shared != own:
            os.link(own, shared)
        return name

    def sweep(
        self, context: Context, live: Iterable[str], *, older_than: timedelta, dry_run: bool = True
    ) -> SweepReport:
        report = super().sweep(context, live, older_than=older_than, dry_run=dry_run)
        for name in report.unreferenced if report.quarantined else ():
            self.leaf({}).delete({}, name)
        return report

    def delete(self, context: Context, module_data: str) -> None:
        super().delete(context, module_data)
        super().delete({}, module_data)


class HandleWithoutKind(WithVolumes):
    breaks = "volumes.access-handle"

    class kind(Directories):  # noqa: N801
        def access_handle(self, uuid: str) -> dict[str, Any]:
            handle = super().access_handle(uuid)
            del handle["kind"]
            return handle
