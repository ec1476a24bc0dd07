"""What both volume backends share: checks, dict shapes, the lock of control operations."""

from __future__ import annotations

import fcntl
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Final

from modules.errors import InvalidArgument, NotSupported, VolumeNotFound
from modules.volumes import CloneOrigin, Volume
from zfsstore import layout

CAPABILITIES = {"snapshots": False, "clones": False, "replication": False}

_GUIDS: Final = uuid.UUID("9a8f4f0e-6d1b-5f0a-8f5e-3c1d1f0b7a52")


def new_uuid() -> str:
    """Return a random uuid for a volume."""
    return str(uuid.uuid4())


def snapshot_uuid(guid: str) -> str:
    """Return the uuid of the ZFS snapshot with this guid: the same on every pool it is sent to."""
    return str(uuid.uuid5(_GUIDS, guid))


def parse_uuid(value: str | None) -> str | None:
    """Return the uuid in its one spelling, None when it is malformed."""
    try:
        return str(uuid.UUID(value or ""))
    except (ValueError, TypeError, AttributeError):
        return None


def check_size(size_bytes: int | None, *, smallest_bytes: int = 1) -> None:
    """Make sure that a quota is a number of bytes that a volume can work with.

    Raises:
        InvalidArgument: it is none.
    """
    if size_bytes is None:
        return
    if isinstance(size_bytes, bool) or not isinstance(size_bytes, int):
        raise InvalidArgument("must be a whole number of bytes", field="size_bytes")
    if not smallest_bytes <= size_bytes < 2**63:
        raise InvalidArgument(
            f"must be at least {smallest_bytes} and below 2^63, not {size_bytes}",
            field="size_bytes",
        )


def refuse_exports(junction_path: str | None, export_policy: str | None) -> None:
    """Raise NotSupported when an export was asked for."""
    if junction_path is not None or export_policy is not None:
        raise NotSupported(
            "these volumes are not exported",
            capability="exports",
            operation="patch volume",
            hint="leave junction_path and export_policy out",
        )


def volume_dict(
    *,
    uuid: str,
    name: str,
    size_bytes: int | None,
    state: str = "online",
    used_bytes: int | None = None,
    is_read_only: bool = False,
    clone: CloneOrigin | None = None,
) -> Volume:
    """Return a volume in the shape of the contract."""
    volume = Volume(
        uuid=uuid,
        name=name,
        size_bytes=size_bytes,
        state=state,
        style="flexvol",
        vol_type="dp" if is_read_only else "rw",
    )
    if used_bytes is not None:
        volume["used_bytes"] = used_bytes
    if clone is not None:
        volume["clone"] = clone
    return volume


def no_such_volume(uuid: str, *, operation: str) -> VolumeNotFound:
    """Return the error for a uuid that no volume has."""
    return VolumeNotFound("no volume has this uuid", operation=operation, subject=repr(uuid))


def trash_name(uuid: str) -> str:
    """Return a name in the trash that was never used: when, and which volume."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}-{uuid}".lower()


@contextmanager
def control_lock(root: str) -> Iterator[None]:
    """Hold off every other process and thread that creates, changes or removes volumes.

    The kernel lets go of it when the process dies. The data path never takes it.
    """
    fd = os.open(f"{root}/{layout.LOCK}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)
