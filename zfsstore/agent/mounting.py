"""What the agent does about mounts: each in its place below its root, and given to the host.

The datasets of the agent have canmount=noauto: what zfs(8) mounts at boot it mounts by path,
through any link that the host's user may have left there. The agent mounts them itself when it
starts.
"""

from __future__ import annotations

import errno
import logging
import os
import threading
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from zfsstore.agent import mounts
from zfsstore.agent.mounts import MountedRoot, MountEntry, NotMountable
from zfsstore.agent.scope import Scope
from zfsstore.volumes.datasets import UUID
from zfsstore.zfs import commands
from zfsstore.zfs.commands import Dataset
from zfsstore.zfs.seam import Runner, RunResult

PROPERTIES: Final = ("mountpoint", "canmount", "keystatus", "readonly", "origin", "guid", UUID)
DONE: Final[RunResult] = {"success": True, "stdout": "", "stderr": "", "exit_code": 0}
_DEEP: Final = 100
_NOWHERE: Final = ("none", "legacy", "-")

_log = logging.getLogger(__name__)


class Failed(Exception):
    """A command failed; its result is the answer."""

    def __init__(self, result: RunResult) -> None:
        super().__init__(result.get("stderr", ""))
        self.result = result


def failure(message: str) -> RunResult:
    """Return the result of a command that failed saying *message*."""
    return {"success": False, "stdout": "", "stderr": f"{message}\n", "exit_code": 1}


def is_volume(present: Dataset) -> bool:
    """Return whether a file system is a volume of a store."""
    return present.own(UUID) is not None


@dataclass(frozen=True, slots=True)
class Owner:
    """The host's user, to whom volumes belong."""

    uid: int
    gid: int


class Mounter:
    """Mounts and unmounts. One change at a time: ``with mounter.lock``."""

    def __init__(self, scope: Scope, runner: Runner, owner: Owner) -> None:
        self.lock = threading.RLock()
        self._scope = scope
        self._runner = runner
        self._owner = owner

    def get(self, datasets: Sequence[str], *, depth: int | None = None) -> list[Dataset]:
        """Return file systems with what matters here.

        Raises:
            Failed: zfs could not tell.
        """
        argv = commands.get_argv(datasets, PROPERTIES, depth=depth)
        result = self._runner(argv)
        if not result["success"]:
            raise Failed(result)
        return commands.parse_get(result.get("stdout", ""), argv=argv)

    def tree(self, dataset: str) -> list[Dataset]:
        """Return a file system with all below it, parents first; nothing when there is none."""
        try:
            return self.get([dataset], depth=_DEEP)
        except Failed as error:
            if "does not exist" in str(error):
                return []
            raise

    def mount(self, present: Dataset) -> RunResult:
        """Mount a file system where it belongs, and give its root directory to the host."""
        name = present.name
        where = present.properties["mountpoint"].value
        if present.value("canmount") == "off" or where in _NOWHERE:
            return failure(f"cannot mount '{name}': it has no mountpoint")
        if present.value("keystatus") == "unavailable":
            return failure(f"cannot mount '{name}': encryption key not loaded")
        with self.lock:
            try:
                root = self.root_of(name)
                if where != f"{root.path}{name[len(root.dataset) :]}":
                    raise NotMountable(f"its mountpoint {where} is not below its root's")
                is_new = mounts.mount(root, name, read_only=present.value("readonly") == "on")
                if is_volume(present):
                    self.give(name)
            except NotMountable as error:
                return failure(f"cannot mount '{name}': {error}")
            except OSError as error:
                return failure(f"cannot mount '{name}': {os.strerror(error.errno or errno.EIO)}")
        return DONE if is_new else failure(f"cannot mount '{name}': filesystem already mounted")

    def mount_all(self, every: Iterable[Dataset]) -> RunResult:
        """Mount what is not mounted, has a place and no missing key; the first failure, or done."""
        result = DONE
        mounted = {entry.source for entry in mounts.read_mounts()}
        for present in every:
            where = present.properties["mountpoint"].value
            is_wanted = present.value("canmount") != "off" and where not in _NOWHERE
            is_open = present.value("keystatus") != "unavailable"
            if is_wanted and is_open and present.name not in mounted:
                done = self.mount(present)
                result = done if result["success"] else result
        return result

    def give(self, dataset: str) -> None:
        """Give the root directory of a mounted dataset, while it is root's, to the host's user.

        Raises:
            NotMountable: it is not mounted at its place.
        """
        mounts.give(self.root_of(dataset), dataset, self._owner.uid, self._owner.gid)

    def unmount(self, dataset: str, *, force: bool = False) -> list[MountEntry]:
        """Unmount a file system and those below it, all or none; return what was mounted.

        Raises:
            Failed: a file in one of them is open.
        """
        with self.lock:
            entries = mounts.mounted_tree(dataset)
            for snapshot in mounts.mounted_snapshots(dataset):
                with suppress(OSError):  # in use: then its file system is, too
                    mounts.unmount(snapshot)
            done: list[MountEntry] = []
            for entry in reversed(entries):
                try:
                    mounts.unmount(entry, force=force)
                except OSError as error:
                    self.mount_again(done)
                    busy = error.errno == errno.EBUSY
                    reason = "pool or dataset is busy" if busy else error.strerror
                    raise Failed(failure(f"cannot unmount '{entry.path}': {reason}")) from error
                done.append(entry)
            return entries

    def mount_again(self, entries: Sequence[MountEntry]) -> None:
        """Mount what was mounted before; what fails is logged."""
        if not entries:
            return
        try:
            result = self.mount_all(self.get(sorted(entry.source for entry in entries)))
        except Failed as error:
            result = error.result
        if not result["success"]:
            _log.error("%s", result.get("stderr", "").rstrip())

    def take_over(self) -> None:
        """Mount every volume that is not mounted; keep zfs(8) from mounting it at boot.

        Raises:
            Failed: there is no such root.
        """
        for root in self._scope.roots:
            every = self.get([root], depth=_DEEP)
            volumes = [present for present in every if present.name != root and is_volume(present)]
            self.keep_from_zfs(volumes)
            with self.lock:
                result = self.mount_all(volumes)
            if not result["success"]:
                _log.error("%s", result.get("stderr", "").rstrip())

    def keep_from_zfs(self, datasets: Iterable[Dataset]) -> None:
        """Set canmount=noauto where it is on."""
        names = [present.name for present in datasets if present.value("canmount") == "on"]
        if names:
            result = self._runner(["zfs", "set", "canmount=noauto", *names])
            if not result["success"]:
                raise Failed(result)

    def root_of(self, dataset: str) -> MountedRoot:
        """Return the root that a dataset is below, and where that is mounted.

        Raises:
            NotMountable: it is not mounted.
        """
        root = self._scope.root_of(dataset)
        for entry in mounts.read_mounts():
            if entry.source == root and entry.kind == "zfs" and entry.is_whole:
                return MountedRoot(entry.source, entry.path)
        raise NotMountable(f"the root {root} is not mounted")
