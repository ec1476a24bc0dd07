"""Keeping a full volume usable: the headroom that no put may touch."""

from __future__ import annotations

import os
import secrets
import threading
from contextlib import suppress
from typing import Final

from modules.durable import TEMPORARY_PREFIX
from modules.errors import NoSpace, QuotaExceeded, StorageError, translated_oserror
from zfsstore.layout import OWN
from zfsstore.places import Place
from zfsstore.volumes.usage import Reservation

HEADROOM_BYTES: Final = 64 * 1024 * 1024
SMALLEST_HEADROOM_BYTES: Final = 8 * 1024 * 1024
"""SQLite opens a database, grows a WAL of 4 MiB and checkpoints it within this."""

_OBJECT_OVERHEAD_BYTES: Final = 8 * 1024
_CHECK_BYTES: Final = 8 * 1024 * 1024
"""How often the room left is looked at while an object streams in."""

_UNKNOWN_BYTES: Final = 64 * 1024
"""What a put of unknown length must find room for, so that a small one is looked at once."""

_UNSYNCED_BYTES: Final = 4 * 1024**3
"""More than ZFS lets processes write ahead of a transaction group (zfs_dirty_data_max)."""


class Room:
    """Refuses a put that would leave less than the headroom in its volume.

    The headroom is a sixteenth of the volume, at least 8 MiB and at most *headroom_bytes*.

    ZFS counts what was written only when its transaction group is synced, seconds later. So
    when the volume has little left, and this process wrote a part of the headroom since, the
    group is forced out first: linking an O_TMPFILE file waits for it.

    Args:
        root: of the store, to tell a volume's quota from a full pool.
        are_datasets: True on ZFS.
    """

    def __init__(self, root: str, headroom_bytes: int, *, are_datasets: bool) -> None:
        self._root = root
        self._headroom_bytes = headroom_bytes
        self._are_datasets = are_datasets
        self._lock = threading.Lock()
        self._unsettled_bytes = 0

    def headroom_bytes(self, total_bytes: int) -> int:
        """Return the headroom of a volume that can hold *total_bytes*."""
        return min(self._headroom_bytes, max(total_bytes // 16, SMALLEST_HEADROOM_BYTES))

    def require(self, place: Place, need_bytes: int) -> None:
        """Make sure that *need_bytes* fit into the volume besides the headroom.

        Raises:
            QuotaExceeded, NoSpace: they do not.
            OSError: the volume is not there.
        """
        left = self._left(place.path, need_bytes)
        if self._are_datasets and left < _UNSYNCED_BYTES and self._settle(place.path):
            left = self._left(place.path, need_bytes)
        if left < 0:
            raise self._full(place, need_bytes)

    def wrote(self, size_bytes: int) -> None:
        """Count what a put wrote, or is about to write."""
        if self._are_datasets:
            with self._lock:
                self._unsettled_bytes += size_bytes + _OBJECT_OVERHEAD_BYTES

    def _left(self, path: str, need_bytes: int) -> int:
        available, total = capacity(path)
        return available - need_bytes - self.headroom_bytes(total)

    def _settle(self, path: str) -> bool:
        """Wait for the transaction group, when enough was written since; tell whether it did."""
        if self._unsettled_bytes <= max(self._headroom_bytes, SMALLEST_HEADROOM_BYTES) // 8:
            return False
        with self._lock:
            self._unsettled_bytes = 0
            with suppress(OSError):  # full: the figures are as true as they get
                _sync_transaction_group(f"{path}/{OWN}")
        return True

    def _full(self, place: Place, need_bytes: int) -> StorageError:
        available, total = capacity(place.path)
        reason = (
            f"{need_bytes} bytes do not fit: {available} are left and "
            f"{self.headroom_bytes(total)} of them are kept free for deletes and restarts"
        )
        if self._are_datasets and capacity(self._root)[0] > available:
            return QuotaExceeded(
                reason,
                operation="put object into",
                subject=place.label,
                hint="delete objects or raise the quota",
            )
        return NoSpace(
            reason,
            operation="put object into",
            subject=place.label,
            hint="free space in the pool or file system",
        )


class Intake:
    """Asks, block by block, whether one more of a put fits."""

    def __init__(
        self, place: Place, room: Room, reservation: Reservation, expected_bytes: int | None
    ) -> None:
        self._place = place
        self._room = room
        self._reservation = reservation
        self._expected_bytes = expected_bytes
        self._checked_bytes = 0
        need_bytes = _UNKNOWN_BYTES if expected_bytes is None else expected_bytes
        with translated_oserror(operation="put object into", subject=place.label):
            reservation.grow(expected_bytes or 0)
            room.require(place, need_bytes)
        self._checked_bytes = _UNKNOWN_BYTES if expected_bytes is None else _CHECK_BYTES

    def before_block(self, so_far_bytes: int, block_bytes: int) -> None:
        """Raise when the block does not fit."""
        end = so_far_bytes + block_bytes
        with translated_oserror(operation="put object into", subject=self._place.label):
            self._reservation.grow(end)
            if end > self._checked_bytes:
                left = max(block_bytes, (self._expected_bytes or 0) - so_far_bytes)
                self._room.require(self._place, left)
                self._checked_bytes = end + _CHECK_BYTES
        self._room.wrote(block_bytes)


def capacity(path: str) -> tuple[int, int]:
    """Return how many bytes are available below *path*, and how many there are, used or not.

    What only root may use is not counted. On ZFS these follow the tightest of quota, refquota,
    the parents' quotas and the pool.

    Raises:
        OSError: the volume is not there.
    """
    stat = os.statvfs(path)
    used_blocks = stat.f_blocks - stat.f_bfree
    return stat.f_bavail * stat.f_frsize, (used_blocks + stat.f_bavail) * stat.f_frsize


def _sync_transaction_group(directory: str) -> None:
    name = f"{TEMPORARY_PREFIX}sync-{secrets.token_hex(8)}"
    fd = os.open(directory, os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    try:
        directory_fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.link(
                f"/proc/self/fd/{fd}",
                name,
                src_dir_fd=directory_fd,  # without it Python 3.11 calls link(), which fails
                dst_dir_fd=directory_fd,
                follow_symlinks=True,
            )
            os.unlink(name, dir_fd=directory_fd)
        finally:
            os.close(directory_fd)
    finally:
        os.close(fd)
