"""The calls that change and destroy datasets."""

from __future__ import annotations

from modules.errors import InvalidArgument
from zfsstore.warpstor.vols import Vols, check_confirmed, is_on, one_of, owned_by


class ChangingCalls(Vols):
    """Snapshots, promote, rename, replace, destroy."""

    def snapshot(self, *, dataset: str, snap_name: str) -> int:
        """Take a snapshot, of any name that ZFS allows."""

        def take() -> None:
            backend, volume = self._volume(dataset)
            backend.create_snapshot(volume["uuid"], snap_name)

        return self._flag(take)

    def promote(self, *, cloned_dataset: str) -> int:
        """Let a clone take over its origin's older snapshots. Both exports stay as they are.

        Fails when both have a snapshot of the same name.
        """

        def promote() -> None:
            backend, volume = self._volume(cloned_dataset)
            backend.promote_volume(volume["uuid"])

        return self._flag(promote)

    def rename(self, *, dataset_a: str, dataset_b: str, keep_path: str = "0") -> int:
        """Rename a dataset in its vol; the new name must be free.

        It is unmounted, mounted at the path of its new name and exported again under the same
        fsid. With *keep_path* "1" it stays mounted and exported where it is meanwhile, so that
        not even open files are disturbed.
        """

        def rename() -> None:
            stays = is_on(keep_path, "keep_path")
            backend, volume = self._volume(dataset_a)
            target, name = self._split(dataset_b)
            if target is not backend:
                raise InvalidArgument("it is in another vol", field="dataset_b")
            backend.rename_volume(volume["uuid"], name, keep_path=stays)

        return self._flag(rename)

    def replace(
        self,
        *,
        dataset: str,
        userid: str | None = None,
        groupid: str | None = None,
        replaced: str | None = None,
        vfsid: str | None = None,
    ) -> int:
        """Let a dataset take the place of another: name, path, export and VFSID.

        The other one gets this one's name and path. NFS clients keep the handles of what both
        have in common: of all files of the snapshot, when one is a clone of the other.

        Args:
            dataset: what takes the place, under its present name.
            userid: as in :meth:`create_fs`.
            groupid: as in :meth:`create_fs`.
            replaced: what it takes the place of; what it is a clone of when None.
            vfsid: export it under this one; under that of *replaced* when None.
        """

        def replace() -> None:
            backend, volume = self._volume(dataset)
            parent = volume.get("clone")
            if replaced is not None:
                place = replaced
            elif parent is not None:
                place = f"{backend.pool}/{parent['parent_volume']}"
            else:
                raise InvalidArgument("say what is replaced: this is no clone", field="replaced")
            target, other = self._volume(place)
            if target is not backend:
                raise InvalidArgument("it is in another vol", field="replaced")
            owned = owned_by(backend, userid, groupid, is_exported=True)
            backend.replace_volume(other["uuid"], volume["uuid"], publication=owned, fsid=vfsid)

        return self._flag(replace)

    def destroy(
        self,
        *,
        dataset: str,
        recursive: str = "0",
        recursive_mode: str = "-r",
        force: str = "",
        confirm: str = "",
    ) -> int:
        """Destroy a dataset, clone or snapshot, for good.

        Args:
            dataset: or a snapshot, ``vol/name@snapshot``.
            recursive: "1" with what *recursive_mode* says, "0" without.
            recursive_mode: "-r" snapshots and children, "-R" clones that depend on it, too.
            force: "-f" though it is in use.
            confirm: must be "yes" for "-R".
        """

        def destroy() -> None:
            is_recursive = is_on(recursive, "recursive")
            is_forced = one_of(force, ("", "-f"), "force") == "-f"
            mode = one_of(recursive_mode, ("-r", "-R"), "recursive_mode")
            dependents = is_recursive and mode == "-R"
            if dependents:
                check_confirmed(confirm, f"{dataset} and all clones that depend on it")
            if "@" in dataset:
                backend, volume, snapshot = self._snapshot(dataset)
                backend.destroy_snapshot(
                    volume, snapshot, recursive=is_recursive, dependents=dependents
                )
                return
            backend, found = self._volume(dataset)
            backend.destroy_volume(
                found["uuid"], recursive=is_recursive, dependents=dependents, force=is_forced
            )

        return self._flag(destroy)

    def rebuild_vol(self, *, vol: str | None = None, confirm: str = "") -> int:
        """Destroy all datasets of a vol, with snapshots and exports, so that it is as new.

        Fails before anything is destroyed when the vol holds something that is no dataset of
        this API.

        Args:
            vol: the default vol when None.
            confirm: must be "yes".
        """

        def rebuild() -> None:
            backend = self._vol(vol)
            check_confirmed(confirm, f"all datasets of {backend.pool}")
            backend.destroy_all_volumes()

        return self._flag(rebuild)
