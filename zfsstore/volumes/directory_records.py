"""The small files that say what a snapshot of a directory is, and what a clone was made of.

.zfsstore/snapshot.json    in a snapshot: its uuid, the same everywhere, and when it was made
.zfsstore/origin.json      in a clone: the uuid of the snapshot it was made of
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from modules.durable import durable_file
from modules.errors import IntegrityError, InvalidName, NotSupported, SnapshotNotFound, StorageError
from modules.volumes import Snapshot
from zfsstore import layout
from zfsstore.volumes.common import parse_uuid
from zfsstore.zfs.names import check_short_name

_log = logging.getLogger(__name__)

SNAPSHOT_FILE: Final = f"{layout.OWN}/snapshot.json"
ORIGIN_FILE: Final = f"{layout.OWN}/origin.json"
_FORMAT: Final = 1
_MAX_BYTES: Final = 64 * 1024
_MAX_NAME: Final = 200


@dataclass(frozen=True, slots=True)
class SnapshotRecord:
    """One snapshot.

    Attributes:
        name: of its directory, which counts; in the file it is a hint.
        created_ns: since 1970; larger than that of every snapshot before it.
        database_bytes: what its own copies of the databases take.
    """

    uuid: str
    name: str
    created_ns: int
    database_bytes: int

    def to_dict(self) -> Snapshot:
        """Return the snapshot in the shape of the contract.

        ``size_consumed`` is what its databases take: they are always its own. Objects are shared
        by hard links, and which of them only the snapshot has would take a look at every file.
        """
        created = datetime.fromtimestamp(self.created_ns / 1e9, UTC)
        return Snapshot(
            uuid=self.uuid,
            name=self.name,
            size_consumed=self.database_bytes,
            create_time=f"{created:%Y-%m-%dT%H:%M:%SZ}",
        )

    def write(self, path: str) -> None:
        """Write the record into the snapshot in directory *path*, durably."""
        value = {
            "format": _FORMAT,
            "uuid": self.uuid,
            "name": self.name,
            "created_ns": self.created_ns,
            "database_bytes": self.database_bytes,
        }
        with durable_file(f"{path}/{SNAPSHOT_FILE}") as file:
            file.write(json.dumps(value, indent=1).encode() + b"\n")


def check_snapshot(name: str) -> str:
    """Return *name* when a snapshot can have it.

    Raises:
        InvalidName: it cannot.
    """
    check_short_name(name)
    if len(name) > _MAX_NAME:
        raise InvalidName(
            f"a snapshot's name has up to {_MAX_NAME} characters",
            field="name",
            operation="use name",
            subject=f"{name[:40]}...",
        )
    return name


def snapshots_of(volume: str, *, subject: str) -> list[SnapshotRecord]:
    """Return the snapshots of the volume in a directory, oldest first; damaged ones are logged."""
    parent = f"{volume}/{layout.SNAPSHOTS}"
    try:
        names = os.listdir(parent)
    except FileNotFoundError:
        return []
    found = []
    for name in names:
        try:
            found.append(_read(f"{parent}/{name}", name, f"{subject}@{name}"))
        except (FileNotFoundError, NotADirectoryError):
            continue
        except StorageError as error:
            _log.warning("left out of the list of snapshots: %s", error)
    return sorted(found, key=lambda snapshot: (snapshot.created_ns, snapshot.name))


def next_moment(before: Iterable[SnapshotRecord]) -> int:
    """Return the creation time of a new snapshot: now, but after all *before* it."""
    return max([time.time_ns(), *(snapshot.created_ns + 1 for snapshot in before)])


def find_snapshot(
    snapshots: Iterable[SnapshotRecord], uuid: str, *, operation: str, subject: str
) -> SnapshotRecord:
    """Return the snapshot with this uuid.

    Raises:
        SnapshotNotFound: there is none.
    """
    wanted = parse_uuid(uuid)
    for snapshot in snapshots:
        if snapshot.uuid == wanted:
            return snapshot
    raise SnapshotNotFound(
        f"the volume {subject} has no snapshot with this uuid",
        operation=operation,
        subject=repr(uuid),
        hint="list the volume's snapshots",
    )


def read_origin(volume: str) -> str | None:
    """Return the uuid of the snapshot that the volume was made of, None when it is no clone."""
    try:
        value = _load(f"{volume}/{ORIGIN_FILE}", volume)
    except FileNotFoundError:
        return None
    return parse_uuid(value.get("snapshot", ""))


def format_origin(snapshot_uuid: str) -> str:
    """Return the content of origin.json."""
    return json.dumps({"format": _FORMAT, "snapshot": snapshot_uuid}) + "\n"


def _read(path: str, name: str, subject: str) -> SnapshotRecord:
    value = _load(f"{path}/{SNAPSHOT_FILE}", subject)
    try:
        uuid = parse_uuid(value["uuid"])
        if uuid is None:
            raise ValueError("uuid")
        return SnapshotRecord(uuid, name, int(value["created_ns"]), int(value["database_bytes"]))
    except (KeyError, TypeError, ValueError) as error:
        raise _damaged(subject) from error


def _load(path: str, subject: str) -> dict[str, Any]:
    with open(path, "rb") as file:
        content = file.read(_MAX_BYTES)
    try:
        value = json.loads(content)
        if value["format"] != _FORMAT:
            raise NotSupported(
                f"its format is {value['format']!r}, this release knows {_FORMAT}",
                capability="snapshot_format",
                operation="read record of",
                subject=subject,
                hint="upgrade zfsstore on this host",
            )
        return dict(value)
    except (KeyError, TypeError, ValueError) as error:
        raise _damaged(subject) from error


def _damaged(subject: str) -> IntegrityError:
    return IntegrityError("its record is damaged", operation="read record of", subject=subject)
