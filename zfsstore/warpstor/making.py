"""The calls that make datasets."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from modules.errors import InvalidArgument, translated_oserror
from zfsstore.backend import Publication, ZfsBackend
from zfsstore.exports import Export
from zfsstore.warpstor.pathfilter import PathFilter
from zfsstore.warpstor.vols import Vols, check_mounted, owned_by


class MakingCalls(Vols):
    """Creating and cloning."""

    def __init__(
        self, backends: Sequence[ZfsBackend], dataset_types: Mapping[str, Mapping[str, str]]
    ) -> None:
        super().__init__(backends)
        self._types = {"filesystem": {}, **dataset_types}

    def create_fs(
        self,
        *,
        dataset: str,
        userid: str | None = None,
        groupid: str | None = None,
        dataset_type: str = "filesystem",
    ) -> str:
        """Create a dataset, set its owner and properties, export it; return its full name.

        When a step fails it is destroyed again.

        Args:
            dataset: its name.
            userid: its owner, a name or number; as the backend is configured when None.
            groupid: its group.
            dataset_type: one of the constructor's ``dataset_types``, or "filesystem".
        """
        with self._noted():
            if dataset_type not in self._types:
                raise InvalidArgument(
                    f"there is no type {dataset_type!r:.100}",
                    field="dataset_type",
                    hint=f"choose one of {', '.join(sorted(self._types))}",
                )
            backend, name = self._split(dataset)
            owned = owned_by(backend, userid, groupid, is_exported=True)
            backend.create_volume(name, properties=self._types[dataset_type], publication=owned)
            return f"{backend.pool}/{name}"

    def create_fs_no_export(
        self, *, dataset: str, userid: str | None = None, groupid: str | None = None
    ) -> str:
        """Create a dataset and set its owner; return its full name."""
        with self._noted():
            backend, name = self._split(dataset)
            owned = owned_by(backend, userid, groupid, is_exported=False)
            backend.create_volume(name, publication=owned)
            return f"{backend.pool}/{name}"

    def create_fs_only(self, *, dataset: str) -> int:
        """Create a dataset: no owner, mode, export. It has a uuid and a path like any other."""

        def create() -> None:
            backend, name = self._split(dataset)
            backend.create_volume(name, publication=Publication())

        return self._flag(create)

    def clone(
        self,
        *,
        fs_snapshot: str,
        dest_fs: str,
        userid: str | None = None,
        groupid: str | None = None,
    ) -> str:
        """Clone a snapshot, set the owner, export it; return the clone's full name.

        When a step fails the clone is destroyed again.
        """
        return self._clone(fs_snapshot, dest_fs, userid, groupid)

    def clone_only(self, *, fs_snapshot: str, dest_fs: str) -> str:
        """Clone a snapshot and mount it, nothing else; return the clone's full name."""
        with self._noted():
            backend, volume, snapshot, name = self._clone_arguments(fs_snapshot, dest_fs)
            backend.create_clone(volume, snapshot, name, publication=Publication())
            return f"{backend.pool}/{name}"

    def filtered_clone(
        self,
        *,
        fs_snapshot: str,
        dest_fs: str,
        userid: str | None = None,
        groupid: str | None = None,
        include: str | Iterable[str] = (),
        exclude: str | Iterable[str] = (),
    ) -> str:
        """Clone a snapshot, with some of its paths only; return the clone's full name.

        The other paths are removed from the clone before anybody sees it. The file systems must
        be mounted on this machine.

        Args:
            fs_snapshot: what to clone.
            dest_fs: the clone.
            userid: as in :meth:`clone`.
            groupid: as in :meth:`clone`.
            include: patterns of :class:`~zfsstore.warpstor.pathfilter.PathFilter` for what to keep;
                everything when empty.
            exclude: patterns for what not to keep all the same.
        """
        with self._noted():
            paths = PathFilter(include, exclude)

        def prune(export: Export) -> None:
            with translated_oserror(operation="filter clone", subject=export.name):
                check_mounted(export.dataset, export.path)
                paths.apply(export.path)

        return self._clone(fs_snapshot, dest_fs, userid, groupid, prune)

    def _clone(
        self,
        fs_snapshot: str,
        dest_fs: str,
        userid: str | None,
        groupid: str | None,
        prepare: Callable[[Export], None] | None = None,
    ) -> str:
        with self._noted():
            backend, volume, snapshot, name = self._clone_arguments(fs_snapshot, dest_fs)
            owned = owned_by(backend, userid, groupid, is_exported=True)
            backend.create_clone(volume, snapshot, name, publication=owned, prepare=prepare)
            return f"{backend.pool}/{name}"
