"""Names of volumes and snapshots on the command line, and the backend that keeps a volume."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from modules.errors import Conflict, InvalidArgument, SnapshotNotFound, VolumeExists

if TYPE_CHECKING:
    from modules.volumes import Volume, VolumeBackend
    from zfsstore.host.services import Services
    from zfsstore.host.volumes import VolumeSnapshot


@dataclass(frozen=True, slots=True)
class SnapshotName:
    """A snapshot as a user writes it: VOLUME@SNAPSHOT."""

    volume: str
    snapshot: str

    def __str__(self) -> str:
        return f"{self.volume}@{self.snapshot}"


def parse_snapshot_name(text: str) -> SnapshotName:
    """Return the parts of ``acme/photos@monday``; the type of an argument."""
    volume, at, snapshot = text.rpartition("@")  # a bucket's name may hold "@", a snapshot's not
    if not (volume and at and snapshot):
        raise argparse.ArgumentTypeError(f"{text!r} is no snapshot; write acme/photos@monday")
    return SnapshotName(volume, snapshot)


def add_volume(parser: argparse.ArgumentParser, *, name: str = "volume", text: str = "") -> None:
    """Add the argument VOLUME."""
    parser.add_argument(name, metavar="VOLUME", help=text or "as in acme/photos, or acme")


def add_snapshot(parser: argparse.ArgumentParser) -> None:
    """Add the argument VOLUME@SNAPSHOT."""
    parser.add_argument(
        "snapshot",
        metavar="VOLUME@SNAPSHOT",
        type=parse_snapshot_name,
        help="as in acme/photos@monday",
    )


def backend_of(opened: Services, name: str) -> VolumeBackend:
    """Return what keeps the tenant's volumes.

    Raises:
        NotFound: there is no such tenant.
        NotSupported: its storage module keeps no volumes.
    """
    from zfsstore.host.backends import volume_backend

    policy = opened.catalog.get_tenant(name.partition("/")[0]).policy
    return volume_backend(opened.registry.get(policy), policy)


def find_snapshot(opened: Services, name: SnapshotName, *, operation: str) -> VolumeSnapshot:
    """Return one volume's own snapshot.

    Raises:
        SnapshotNotFound: it has none of this name.
    """
    for row in opened.volumes.list_snapshots(name.volume):
        if (row.volume, row.name) == (name.volume, name.snapshot):
            return row
    raise no_such_snapshot(name, operation=operation)


def no_such_snapshot(name: SnapshotName, *, operation: str) -> SnapshotNotFound:
    """Return the error for a snapshot that is not there."""
    return SnapshotNotFound(
        "there is no such snapshot",
        operation=operation,
        subject=str(name),
        hint=f"see `zfsstore snapshot list {name.volume}`",
    )


def require_free(opened: Services, name: str, *, like: str, operation: str) -> None:
    """Make sure, before anything is changed, that a volume can get this name.

    Args:
        like: the volume that it is made of; a bucket makes a bucket, in the same module.

    Raises:
        InvalidName, InvalidArgument: it is none that the volume can have.
        VolumeExists: a volume has it.
        NotFound: its tenant does not exist.
        Conflict: its tenant's data is in another module.
    """
    from zfsstore.host.backends import find_volume
    from zfsstore.host.namespace.names import check_bucket, check_tenant

    tenant, separator, bucket = name.partition("/")
    check_tenant(tenant)
    if bool(separator) != ("/" in like):
        kind = "TENANT/BUCKET" if "/" in like else "TENANT"
        raise InvalidArgument(
            f"it is no name like {like}", operation=operation, subject=name, hint=f"write {kind}"
        )
    if not separator:
        taken = any(tenant == present.name for present in opened.catalog.list_tenants())
    else:
        check_bucket(bucket)
        backend = backend_of(opened, name)
        if backend is not backend_of(opened, like):
            raise Conflict(
                f"the data of tenant {tenant} is in another storage module",
                operation=operation,
                subject=name,
                hint="choose a tenant of the same module, or copy the objects",
            )
        taken = find_volume(backend, name) is not None
    if taken:
        raise VolumeExists("there is one already", operation=operation, subject=name)


def volume_to_dict(volume: Volume) -> dict[str, Any]:
    """Return a volume as JSON: with every member, null where the backend says nothing."""
    clone = volume.get("clone")
    return {
        "name": volume["name"],
        "uuid": volume["uuid"],
        "state": volume["state"],
        "read_only": volume["vol_type"] == "dp",
        "quota_bytes": volume["size_bytes"],
        "used_bytes": volume.get("used_bytes"),
        "clone_of": f"{clone['parent_volume']}@{clone['parent_snapshot']}" if clone else None,
    }
