"""The calls of the WarpStor client API, as a facade over ZfsBackend.

A *vol* is a backend's pool; a *dataset* is one of its volumes, ``vol/name``, or ``name`` in the
default vol; a snapshot is ``vol/name@snapshot``. Arguments are text and go by keyword.

What the API answers with 0 or 1 never raises: 1 is a failure, and ``last_error`` is why. What it
answers with a dataset, a list, a number or text raises, and ``last_error`` is that error. The
results are those of the API; what it leaves open is said at each method.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from importlib import metadata
from typing import Final

from modules.errors import NotFound
from zfsstore.backend import ZfsBackend
from zfsstore.warpstor.changing import ChangingCalls
from zfsstore.warpstor.making import MakingCalls
from zfsstore.warpstor.vols import matches

METHODS: Final = (
    *("clone", "clone_only", "create_fs", "create_fs_no_export", "create_fs_only"),
    *("dataset_exists_not", "destroy", "filtered_clone", "get_available_space_for_vol"),
    *("get_used_space_for_vol", "get_vfsid_for_export", "list_filesystems", "list_snapshots"),
    *("list_vols", "list_wst_methods", "promote", "rebuild_vol", "rename", "replace"),
    *("snapshot", "snapshot_exists_not", "version"),
)


class WarpStor(MakingCalls, ChangingCalls):
    """The 22 calls, and ``last_error``.

    May be used by many threads; each has its own ``last_error``.

    Args:
        backends: one for each vol; the first is the default vol. With ``nfs_clients`` they
            export, with ``dataset_mode`` they set the mode of new datasets.
        dataset_types: for ``create_fs``, names of sets of ZFS properties.

    Raises:
        InvalidArgument: there is no backend, or two have the same pool.
    """

    def __init__(
        self,
        *backends: ZfsBackend,
        dataset_types: Mapping[str, Mapping[str, str]] | None = None,
    ) -> None:
        super().__init__(backends, dataset_types or {})

    def dataset_exists_not(self, *, dataset_name: str) -> int:
        """Return 0 when anything has that name, 1 when nothing has. Raises when it is unknown."""
        with self._noted():
            backend, name = self._split(dataset_name)
            return 0 if backend.is_taken(name) else 1

    def snapshot_exists_not(self, *, snapshot_name: str) -> int:
        """Return 0 when there is such a snapshot, 1 when there is none; raises when unknown."""
        with self._noted():
            try:
                self._snapshot(snapshot_name)
            except NotFound:
                return 1
            return 0

    def list_filesystems(self, *, pattern: str | None = None) -> list[str]:
        """Return the full names of datasets, by name.

        Args:
            pattern: a shell pattern for the full name or its last part; everything when None.
        """
        with self._noted():
            found = (
                f"{pool}/{volume['name']}"
                for pool, backend in self._backends.items()
                for volume in backend.list_volumes()
            )
            return sorted(name for name in found if matches(name, pattern, "/"))

    def list_snapshots(self, *, pattern: str | None = None) -> list[str]:
        """Return the full names of snapshots, oldest first.

        Args:
            pattern: a shell pattern for the full name or what follows the "@".
        """
        with self._noted():
            vols = [backend.dated_snapshots() for backend in self._backends.values()]
            merged = heapq.merge(*vols, key=lambda dated: dated[1])  # in each vol as ZFS counts
            return [name for name, _created_s in merged if matches(name, pattern, "@")]

    def list_vols(self) -> list[str]:
        """Return the names of all vols, the default one first."""
        with self._noted():
            return list(self._backends)

    def get_vfsid_for_export(self, *, dataset: str) -> str:
        """Return the NFS fsid of a dataset's export, a uuid. It outlives renames and restarts."""
        with self._noted():
            backend, volume = self._volume(dataset)
            return backend.fsid(volume["uuid"])

    def get_available_space_for_vol(self, *, vol: str | None = None) -> int:
        """Return the bytes that are left in a vol, the default one when None."""
        with self._noted():
            return self._vol(vol).pool_usage()["available_bytes"]

    def get_used_space_for_vol(self, *, vol: str | None = None) -> int:
        """Return the bytes that a vol takes, the default one when None."""
        with self._noted():
            return self._vol(vol).pool_usage()["used_bytes"]

    def list_wst_methods(self) -> str:
        """Return the names of all calls, separated by commas."""
        return ",".join(METHODS)

    def version(self) -> str:
        """Return our version and that of ZFS, as in "zfsstore 0.1.0,zfs 2.3.2"."""
        with self._noted():
            numbers = ".".join(map(str, self._default.zfs_version()))
            return f"zfsstore {metadata.version('zfsstore')},zfs {numbers}"
