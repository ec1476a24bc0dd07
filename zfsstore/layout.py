"""What lies where in a volume, with its format version. Everything of ours is in ``.zfsstore``.

.zfsstore/volume.json               which volume this is; its presence says "complete"
.zfsstore/objects/<instance>/ab/    immutable files, mode 0444, named by their random id
.zfsstore/state/                    databases and ballast (modules.state)
.zfsstore/quarantine/<time>/        what a sweep moved aside
.zfsstore/usage                     bytes stored, in directory volumes under a quota
.zfsstore/snapshots/<name>/         snapshots of directory volumes, each laid out like a volume

In the root volume only, for what must outlive the content of the others:

.zfsstore/lock                      held by whoever creates, changes or removes volumes
.zfsstore/fences/                   one file for each volume (modules.fences)
.zfsstore/encrypted/                one empty file for each tenant with a key of its own
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from modules.durable import TEMPORARY_PREFIX, durable_file, fsync_directory
from modules.errors import IntegrityError, InvalidModuleData, NotSupported
from modules.state import create_ballast

FORMAT: Final = 1
OWN: Final = ".zfsstore"
TRASH: Final = ".trash"
VOLUME_FILE: Final = f"{OWN}/volume.json"
OBJECTS: Final = f"{OWN}/objects"
STATE: Final = f"{OWN}/state"
QUARANTINE: Final = f"{OWN}/quarantine"
USAGE: Final = f"{OWN}/usage"
FILES: Final = "files"
"""Of a published bucket: its view (zfsstore.published)."""
SNAPSHOTS: Final = f"{OWN}/snapshots"
ZFS_SNAPSHOTS: Final = ".zfs/snapshot"
LOCK: Final = f"{OWN}/lock"
FENCES: Final = f"{OWN}/fences"
ENCRYPTED: Final = f"{OWN}/encrypted"
LEAVES: Final = tuple(f"{number:02x}" for number in range(256))
"""Names of the directories under an instance: the first two characters of the ids in them."""

INSTANCE: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")
OBJECT_ID: Final = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class VolumeRecord:
    """The content of volume.json.

    Attributes:
        key_domain: random; rides along with rename, clone, rollback and replication.
        uuid: of the volume, in directories; on ZFS the property ``zfsstore:uuid`` counts.
        name: the tenant's or bucket's own name, without its parent's.
        size_bytes: the quota, in directories; on ZFS the property ``quota`` counts.
        is_read_only: True for a replica, in directories; on ZFS the property ``readonly`` counts.
    """

    key_domain: str
    uuid: str
    name: str
    size_bytes: int | None = None
    is_read_only: bool | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON object; members that are None are left out."""
        return {"format": FORMAT} | {k: v for k, v in asdict(self).items() if v is not None}

    @classmethod
    def from_dict(cls, value: Mapping[str, Any], *, subject: str) -> VolumeRecord:
        """Return the record in *value*.

        Raises:
            NotSupported: written by a newer release.
            IntegrityError: a member is missing or has the wrong type.
        """
        try:
            if value["format"] != FORMAT:
                raise NotSupported(
                    f"its format is {value['format']!r}, this release knows {FORMAT}",
                    capability="volume_format",
                    operation="open volume",
                    subject=subject,
                    hint="upgrade zfsstore on this host",
                )
            size = value.get("size_bytes")
            return cls(
                key_domain=str(value["key_domain"]),
                uuid=str(value["uuid"]),
                name=str(value["name"]),
                size_bytes=None if size is None else int(size),
                is_read_only=value.get("is_read_only") is True or None,
            )
        except (KeyError, TypeError, ValueError) as error:
            raise _damaged(subject) from error


def read_volume_file(path: str | Path, *, subject: str) -> VolumeRecord:
    """Return the record of the volume in directory *path*.

    Raises:
        FileNotFoundError, NotADirectoryError: no complete volume is there.
        IntegrityError, NotSupported: as for from_dict.
    """
    with open(os.path.join(path, VOLUME_FILE), "rb") as file:
        content = file.read(64 * 1024)
    try:
        value = json.loads(content)
    except ValueError as error:
        raise _damaged(subject) from error
    return VolumeRecord.from_dict(value, subject=subject)


def write_volume_file(path: str | Path, record: VolumeRecord) -> None:
    """Write volume.json, durably and atomically."""
    with durable_file(os.path.join(path, VOLUME_FILE)) as file:
        file.write(json.dumps(record.to_dict(), indent=1, ensure_ascii=False).encode() + b"\n")


def create_layout(path: str | Path, *, instance: str) -> None:
    """Create all that a volume holds but volume.json, durable on return.

    Completes what an interrupted call left. The directories are flushed together at the end:
    they count only once volume.json is there.
    """
    own, objects, state = (os.path.join(path, name) for name in (OWN, OBJECTS, STATE))
    mine = os.path.join(objects, instance)
    for directory, mode in ((own, 0o700), (objects, 0o755), (state, 0o700), (mine, 0o755)):
        _make_directory(directory, mode)
    _make_leaves(mine)
    create_ballast(Path(state))
    for written in (mine, objects, state, own, path):
        fsync_directory(written)


def fence_path(root: str | Path, name: str) -> Path:
    """Return where the fence of the volume called *name* lies: outside of it, in the root."""
    return Path(root, FENCES, _digest(name))


def encrypted_path(root: str | Path, tenant: str) -> Path:
    """Return which file says that a tenant is encrypted, also while it is locked."""
    return Path(root, ENCRYPTED, _digest(tenant))


def _digest(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()[:32]


def snapshot_path(path: str | Path, snapshot: str, *, is_dataset: bool) -> str:
    """Return where a snapshot of the volume in directory *path* shows its content."""
    return os.path.join(path, ZFS_SNAPSHOTS if is_dataset else SNAPSHOTS, snapshot)


def create_leaves(path: str | Path, instance: str) -> None:
    """Create the object directories of *instance* in a volume, durably, unless they are there.

    Raises:
        FileNotFoundError: the volume is not there; nothing is created in its place.
    """
    objects = os.path.join(path, OBJECTS)
    mine = os.path.join(objects, instance)
    _make_directory(mine, 0o755)
    _make_leaves(mine)
    fsync_directory(mine)
    fsync_directory(objects)


def _make_leaves(parent: str) -> None:
    present = set(os.listdir(parent))
    for leaf in LEAVES:
        if leaf not in present:
            _make_directory(os.path.join(parent, leaf), 0o755)


def _make_directory(path: str, mode: int) -> None:
    with suppress(FileExistsError):
        os.mkdir(path, mode)


def new_key_domain() -> str:
    """Return a random id for volume.json."""
    return secrets.token_hex(16)


def format_module_data(instance: str, object_id: str) -> str:
    """Return the module_data of an object."""
    return f"z1:{instance}:{object_id}"


def module_data_pattern(instance: str) -> re.Pattern[str]:
    """Return what full-matches the module_data of *instance*; group 1 is the object id."""
    return re.compile(f"z1:{re.escape(instance)}:({OBJECT_ID.pattern})")


def parse_module_data(pattern: re.Pattern[str], module_data: str) -> str:
    """Return the object id in *module_data*.

    Args:
        pattern: of the instance, from :func:`module_data_pattern`.

    Raises:
        InvalidModuleData: an instance of this name cannot have returned it.
    """
    match = pattern.fullmatch(module_data) if isinstance(module_data, str) else None
    if match is None:
        raise InvalidModuleData(
            "this module returned no such module_data",
            field="module_data",
            subject=repr(module_data)[:80],
        )
    return match[1]


def is_temporary(name: str) -> bool:
    """Return True for the name of a file that is being written."""
    return name.startswith(TEMPORARY_PREFIX)


def _damaged(subject: str) -> IntegrityError:
    return IntegrityError(
        "its volume.json is damaged",
        operation="open volume",
        subject=subject,
        hint="restore .zfsstore/volume.json from a snapshot or a backup",
    )
