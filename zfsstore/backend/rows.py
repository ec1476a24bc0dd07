"""The lists that the backend asks zfs for, line by line, and the dicts made of them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from modules.volumes import CloneOrigin, Snapshot, Volume
from zfsstore.exports import Export
from zfsstore.volumes.common import parse_uuid, snapshot_uuid
from zfsstore.volumes.datasets import NAME, UUID
from zfsstore.zfs.snapshot_commands import not_understood

FSID: Final = "zfsstore:fsid"
"""The NFS fsid of a volume that took another one's place; its uuid otherwise."""

VOLUME_COLUMNS: Final = (
    *("name", "mountpoint", "used", "avail", "origin"),
    *("quota", "mounted", "readonly", "createtxg", UUID, FSID, NAME),
)
SNAPSHOT_COLUMNS: Final = ("name", "creation", "used", "refer", "guid")


@dataclass(frozen=True, slots=True)
class VolumeRow:
    """One file system of the pool."""

    dataset: str
    mountpoint: str
    used_bytes: int
    available_bytes: int
    origin: str | None
    quota_bytes: int | None
    is_mounted: bool
    is_read_only: bool
    createtxg: int
    uuid: str | None
    fsid: str | None
    store_name: str | None

    @property
    def name(self) -> str:
        """The last part of the dataset's name."""
        return self.dataset.rpartition("/")[2]

    def export(self, *, path: str | None = None) -> Export:
        """Return the volume's export, at *path* when given."""
        own = self.uuid or ""
        return Export(
            name=self.name,
            uuid=own,
            dataset=self.dataset,
            path=path or self.mountpoint,
            fsid=self.fsid or own,
        )

    def to_dict(self) -> Volume:
        """Return the volume in the shape of the contract."""
        volume = Volume(
            uuid=self.uuid or "",
            name=self.name,
            size_bytes=self.quota_bytes,
            state="online" if self.is_mounted else "offline",
            style="flexvol",
            vol_type="dp" if self.is_read_only else "rw",
        )
        if self.origin is not None:
            volume["clone"] = clone_origin(self.origin, self.dataset.rpartition("/")[0])
        return volume


@dataclass(frozen=True, slots=True)
class SnapshotRow:
    """One snapshot of a volume."""

    snapshot: str
    created_at: datetime
    used_bytes: int
    referenced_bytes: int
    uuid: str

    @property
    def name(self) -> str:
        """What follows the "@"."""
        return self.snapshot.partition("@")[2]

    def to_dict(self) -> Snapshot:
        """Return the snapshot in the shape of the contract."""
        return Snapshot(
            uuid=self.uuid,
            name=self.name,
            size_consumed=self.used_bytes,
            create_time=f"{self.created_at:%Y-%m-%dT%H:%M:%SZ}",
        )


def clone_origin(origin: str, pool: str) -> CloneOrigin:
    """Return where a clone came from; the parent's name is relative to *pool* where it is in it."""
    dataset, _at, snapshot = origin.partition("@")
    return CloneOrigin(
        parent_volume=dataset.removeprefix(f"{pool}/"),
        parent_snapshot=snapshot,
    )


def list_argv(dataset: str, *, is_pool: bool = False) -> list[str]:
    """Return the command that lists a volume, or with *is_pool* the pool and its volumes."""
    columns = ",".join(VOLUME_COLUMNS)
    if is_pool:
        return ["zfs", "list", "-Hp", "-d", "1", "-o", columns, "-t", "filesystem", dataset]
    return ["zfs", "list", "-Hp", "-o", columns, dataset]


def list_snapshots_argv(dataset: str) -> list[str]:
    """Return the command that lists the snapshots of a volume, without those of its children."""
    columns = ",".join(SNAPSHOT_COLUMNS)
    return ["zfs", "list", "-Hp", "-d", "1", "-o", columns, "-t", "snapshot", dataset]


def list_snapshot_argv(snapshot: str) -> list[str]:
    """Return the command that lists one snapshot, in the same columns."""
    return ["zfs", "list", "-Hp", "-o", ",".join(SNAPSHOT_COLUMNS), "-t", "snapshot", snapshot]


def parse_volumes(stdout: str, argv: list[str]) -> list[VolumeRow]:
    """Return the rows of :func:`list_argv`'s output, in its order.

    Raises:
        CommandFailed: a line is not understood.
    """
    return [_volume(line, argv) for line in stdout.split("\n") if line]


def parse_snapshots(stdout: str, argv: list[str]) -> list[SnapshotRow]:
    """Return the rows of :func:`list_snapshots_argv`'s output, in its order: from old to new.

    Raises:
        CommandFailed: a line is not understood.
    """
    rows = []
    for line in filter(None, stdout.split("\n")):
        try:
            name, creation, used, refer, guid = line.split("\t")
            rows.append(
                SnapshotRow(
                    snapshot=name,
                    created_at=datetime.fromtimestamp(int(creation), UTC),
                    used_bytes=int(used),
                    referenced_bytes=int(refer),
                    uuid=snapshot_uuid(str(int(guid))),
                )
            )
        except (ValueError, OverflowError, OSError) as error:
            raise not_understood(line, argv) from error
    return rows


def _volume(line: str, argv: list[str]) -> VolumeRow:
    try:
        name, mountpoint, used, avail, origin, *more = line.split("\t")
        quota, mounted, readonly, createtxg, own_uuid, fsid, store_name = more
        return VolumeRow(
            dataset=name,
            mountpoint=mountpoint,
            used_bytes=int(used),
            available_bytes=int(avail),
            origin=_text(origin),
            quota_bytes=int(quota) or None,
            is_mounted=mounted == "yes",
            is_read_only=readonly == "on",
            createtxg=int(createtxg),
            uuid=parse_uuid(own_uuid),
            fsid=parse_uuid(fsid),
            store_name=_text(store_name),
        )
    except ValueError as error:
        raise not_understood(line, argv) from error


def _text(value: str) -> str | None:
    return None if value in ("-", "") else value
