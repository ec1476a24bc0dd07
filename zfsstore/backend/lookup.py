"""Finding volumes by the uuid that their datasets carry.

The uuid is the property ``zfsstore:uuid``, so it outlives this process, a rename and a
replication, and every process finds the same. What is remembered in memory is only where to look
first, and what is found there is believed only when it carries the uuid.
"""

from __future__ import annotations

import fcntl
import logging
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from modules.errors import (
    AlreadyExists,
    ConfigurationError,
    InvalidArgument,
    NotFound,
    SnapshotExists,
    SnapshotNotFound,
    StorageError,
    Unavailable,
    VolumeExists,
    VolumeNotFound,
)
from zfsstore.backend.rows import (
    SnapshotRow,
    VolumeRow,
    list_argv,
    list_snapshots_argv,
    parse_snapshots,
    parse_volumes,
)
from zfsstore.backend.settings import Settings
from zfsstore.volumes.common import new_uuid, no_such_volume, parse_uuid
from zfsstore.volumes.datasets import UUID
from zfsstore.zfs.client import ZfsClient
from zfsstore.zfs.runner import Runner
from zfsstore.zfs.seam import StreamRunner

_log = logging.getLogger(__name__)


class Commands(ZfsClient):
    """The client, and any other command through the same runner."""

    @property
    def can_stream(self) -> bool:
        """Whether the runner can stream."""
        return isinstance(self._runner, StreamRunner)

    def run(self, argv: Sequence[str], operation: str, subject: str) -> str:
        """Return what the command printed.

        Raises:
            StorageError: it failed.
        """
        return self._run(argv, operation, subject)


class Lookup:
    """Volumes and snapshots of one pool, by uuid."""

    def __init__(self, settings: Settings, runner: Runner | None) -> None:
        self._settings = settings
        self.commands = Commands(runner)
        self.known: dict[str, str] = {}  # uuid -> name, where to look first; a walk renews it
        self._lock = threading.RLock()
        self._has_turn = False

    def walk(self) -> list[VolumeRow]:
        """Return the pool's volumes, by name; one command.

        Datasets without a uuid of their own are somebody else's, and those with the property
        ``zfsstore:name`` belong to an object store; neither is a volume.

        Raises:
            Unavailable: there is no such pool.
            ConfigurationError: the pool is a tenant of an object store.
        """
        pool = self._settings.pool
        argv = list_argv(pool, is_pool=True)
        try:
            rows = parse_volumes(self.commands.run(argv, "list volumes of", pool), argv)
        except NotFound as error:
            raise Unavailable(
                "there is no such dataset",
                operation="list volumes of",
                subject=pool,
                hint="import its pool (`zpool import`), or create it",
            ) from error
        root = rows[0] if rows else None
        if root is not None and root.store_name is not None:
            raise ConfigurationError(
                f"{pool} is a tenant or bucket of an object store",
                field="pool",
                hint="choose a dataset of its own for the backend",
            )
        inherited = (None, root.uuid) if root is not None else (None,)
        found = self._distinct(
            [row for row in rows[1:] if row.uuid not in inherited and row.store_name is None]
        )
        self.known = {row.uuid: row.name for row in found if row.uuid is not None}
        return found

    def _distinct(self, rows: list[VolumeRow]) -> list[VolumeRow]:
        """Give a new uuid to what came with the uuid of another volume, in a stream from it."""
        oldest: dict[str | None, VolumeRow] = {}
        for row in sorted(rows, key=lambda row: row.createtxg):
            oldest.setdefault(row.uuid, row)
        return [row if oldest[row.uuid] is row else self._renumbered(row) for row in rows]

    def _renumbered(self, row: VolumeRow) -> VolumeRow:
        uuid = new_uuid()
        self.commands.set(row.dataset, {UUID: uuid})
        return replace(row, uuid=uuid)

    def at(self, dataset: str) -> VolumeRow:
        """Return what is called *dataset* now.

        Raises:
            NotFound: nothing is.
        """
        argv = list_argv(dataset)
        rows = parse_volumes(self.commands.run(argv, "list volume", dataset), argv)
        if len(rows) != 1:
            raise VolumeNotFound("zfs lists no such volume", operation="list", subject=dataset)
        return rows[0]

    def find(self, uuid: str) -> VolumeRow | None:
        """Return the volume, None when there is none.

        Raises:
            InvalidArgument: *uuid* is none.
        """
        wanted = parse_uuid(uuid)
        if wanted is None:
            raise InvalidArgument(f"{uuid!r:.100} is no uuid", field="uuid")
        name = self.known.get(wanted)
        if name is not None:
            try:
                row = self.at(self._settings.dataset(name))
            except NotFound:  # renamed or destroyed by somebody
                row = None
            if row is not None and row.uuid == wanted and row.store_name is None:
                return row
        return next((row for row in self.walk() if row.uuid == wanted), None)

    def need(self, uuid: str, operation: str) -> VolumeRow:
        """Return the volume.

        Raises:
            VolumeNotFound: there is none.
        """
        row = self.find(uuid)
        if row is None:
            raise no_such_volume(uuid, operation=operation)
        return row

    def snapshots(self, row: VolumeRow) -> list[SnapshotRow]:
        """Return the snapshots of a volume alone, from old to new."""
        argv = list_snapshots_argv(row.dataset)
        with named_errors("list snapshots of", row.name):
            stdout = self.commands.run(argv, "list snapshots of", row.name)
        return parse_snapshots(stdout, argv)

    def snapshot(self, row: VolumeRow, uuid: str) -> SnapshotRow | None:
        """Return a snapshot, None when the volume has none with this uuid.

        Raises:
            InvalidArgument: *uuid* is none.
        """
        wanted = parse_uuid(uuid)
        if wanted is None:
            raise InvalidArgument(f"{uuid!r:.100} is no uuid", field="snapshot_uuid")
        return next((found for found in self.snapshots(row) if found.uuid == wanted), None)

    def need_snapshot(self, row: VolumeRow, uuid: str, operation: str) -> SnapshotRow:
        """Return a snapshot.

        Raises:
            SnapshotNotFound: the volume has none with this uuid.
        """
        found = self.snapshot(row, uuid)
        if found is None:
            raise SnapshotNotFound(
                f"the volume {row.name} has no snapshot with this uuid",
                operation=operation,
                subject=repr(uuid),
            )
        return found

    def forget(self, row: VolumeRow) -> None:
        """Remember nothing of a volume that is gone."""
        self.known.pop(row.uuid or "", None)

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Hold off every other thread and, on this machine, process that changes volumes.

        What was found by its uuid keeps its name inside the block. The lock is one on the
        directory *srv_root*; without it, processes rely on each command of ZFS being atomic.
        """
        with self._lock:
            if self._has_turn:
                yield
                return
            try:
                fd = os.open(self._settings.srv_root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            except OSError:
                yield
                return
            try:
                fcntl.flock(fd, fcntl.LOCK_EX)
                self._has_turn = True
                yield
            finally:
                self._has_turn = False
                os.close(fd)


@contextmanager
def named_errors(
    operation: str,
    name: str,
    *,
    missing: type[NotFound] = VolumeNotFound,
    taken: type[AlreadyExists] = VolumeExists,
) -> Iterator[None]:
    """Turn what zfs did not find, or found, into the errors of volumes and snapshots."""
    try:
        yield
    except (VolumeNotFound, VolumeExists, SnapshotNotFound, SnapshotExists):
        raise
    except NotFound as error:
        raise missing(error.reason, operation=operation, subject=name) from error
    except AlreadyExists as error:
        raise taken("it exists already", operation=operation, subject=name) from error


@contextmanager
def undone(undo: Callable[[], None], what: str) -> Iterator[None]:
    """Call *undo* when the block fails; *what* it takes back stands in the log if that fails."""
    try:
        yield
    except BaseException:
        try:
            undo()
        except StorageError:
            _log.exception("cannot take back: %s", what)
        raise
