"""What all calls of the facade need: vols and names, publications, and where errors go."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase

from modules.errors import (
    InvalidArgument,
    SnapshotNotFound,
    StorageError,
    Unavailable,
    VolumeNotFound,
)
from modules.volumes import Volume
from zfsstore.backend import Publication, ZfsBackend


class Vols:
    """Backends by the names of their pools, and each thread's last error.

    Raises:
        InvalidArgument: there is no backend, or two have the same pool.
    """

    def __init__(self, backends: Sequence[ZfsBackend]) -> None:
        self._backends = {backend.pool: backend for backend in backends}
        if not backends or len(self._backends) != len(backends):
            raise InvalidArgument("give one backend for each vol", field="backends")
        self._default = backends[0]
        self._errors = threading.local()

    @property
    def last_error(self) -> StorageError | None:
        """Why this thread's last call failed; None when it did not."""
        error: StorageError | None = getattr(self._errors, "last", None)
        return error

    @contextmanager
    def _noted(self) -> Iterator[None]:
        """Keep the error that the block raises as ``last_error``."""
        self._errors.last = None
        try:
            yield
        except StorageError as error:
            self._errors.last = error
            raise

    def _flag(self, call: Callable[[], None]) -> int:
        """Return 0 when *call* succeeds, 1 when it fails."""
        try:
            with self._noted():
                call()
        except StorageError:
            return 1
        return 0

    def _vol(self, vol: str | None) -> ZfsBackend:
        if vol is None:
            return self._default
        if vol not in self._backends:
            raise VolumeNotFound("there is no such vol", operation="use vol", subject=repr(vol))
        return self._backends[vol]

    def _split(self, dataset: str) -> tuple[ZfsBackend, str]:
        """Return the vol of a dataset, and the dataset's name in it."""
        if not isinstance(dataset, str):
            raise InvalidArgument(f"{dataset!r:.100} is no text", field="dataset")
        vol, slash, name = dataset.rpartition("/")
        return (self._vol(vol) if slash else self._default), name

    def _volume(self, dataset: str) -> tuple[ZfsBackend, Volume]:
        backend, name = self._split(dataset)
        volume = backend.find_volume(name)
        if volume is None:
            raise VolumeNotFound(
                "there is no such dataset", operation="use dataset", subject=repr(dataset)
            )
        return backend, volume

    def _snapshot(self, full_name: str) -> tuple[ZfsBackend, str, str]:
        """Return the vol of a snapshot, its volume's uuid and its own."""
        dataset, at, name = full_name.partition("@") if isinstance(full_name, str) else ("",) * 3
        if not at:
            raise InvalidArgument(
                f"{full_name!r:.200} is no snapshot",
                field="snapshot",
                hint="write vol/name@snapshot",
            )
        backend, volume = self._volume(dataset)
        for snapshot in backend.list_snapshots(volume["uuid"]):
            if snapshot["name"] == name:
                return backend, volume["uuid"], snapshot["uuid"]
        raise SnapshotNotFound(
            "there is no such snapshot", operation="use snapshot", subject=repr(full_name)
        )

    def _clone_arguments(self, fs_snapshot: str, dest_fs: str) -> tuple[ZfsBackend, str, str, str]:
        """Return the vol, the uuids of volume and snapshot, and the clone's name."""
        backend, volume, snapshot = self._snapshot(fs_snapshot)
        target, name = self._split(dest_fs)
        if target is not backend:
            raise InvalidArgument("it is in another vol than the snapshot", field="dest_fs")
        return backend, volume, snapshot, name


def owned_by(
    backend: ZfsBackend, userid: str | None, groupid: str | None, *, is_exported: bool
) -> Publication:
    """Return how the backend publishes, with another owner when one is named."""
    configured = backend.publication
    owner = configured.owner
    if userid is not None or groupid is not None:
        group = "" if groupid is None else f":{groupid}"
        owner = f"{'' if userid is None else userid}{group}"
    return Publication(
        owner=owner, mode=configured.mode, is_exported=is_exported and configured.is_exported
    )


def check_mounted(dataset: str, path: str) -> None:
    """Make sure that what is mounted at *path*, on this machine, is the dataset.

    Raises:
        Unavailable: it is not.

    Source: proc_pid_mountinfo(5).
    """
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as lines:
        for line in lines:
            fields, _dash, rest = line.partition(" - ")
            if fields.split()[4] == path and rest.split()[:2] == ["zfs", dataset]:
                return
    raise Unavailable(
        f"the dataset is not mounted at {path} on this machine",
        operation="filter clone",
        subject=dataset,
        hint="call it on the machine that has the pool",
    )


def check_confirmed(confirm: str, what: str) -> None:
    """Make sure that somebody meant it.

    Raises:
        InvalidArgument: *confirm* is not "yes".
    """
    if confirm != "yes":
        raise InvalidArgument(
            f"{what} would be destroyed for good",
            field="confirm",
            operation="destroy",
            hint='pass confirm="yes"',
        )


def one_of(value: str, allowed: tuple[str, ...], field: str) -> str:
    """Return *value* when it is allowed.

    Raises:
        InvalidArgument: it is not.
    """
    if value not in allowed:
        choices = ", ".join(map(repr, allowed))
        raise InvalidArgument(f"must be one of {choices}, not {value!r:.100}", field=field)
    return value


def is_on(value: str, field: str) -> bool:
    """Return whether a flag in text is on.

    Raises:
        InvalidArgument: it is neither "1" nor "0".
    """
    return one_of(value, ("1", "0"), field) == "1"


def matches(name: str, pattern: str | None, separator: str) -> bool:
    """Return whether a shell pattern matches a full name, or its part after *separator*."""
    if pattern is None:
        return True
    return fnmatchcase(name, pattern) or fnmatchcase(name.rpartition(separator)[2], pattern)
