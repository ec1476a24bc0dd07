"""The client's calls about what is mounted, exported and unlocked."""

from __future__ import annotations

from collections.abc import Sequence

from modules.errors import StorageError
from zfsstore.zfs import commands
from zfsstore.zfs.client_base import CommandClient
from zfsstore.zfs.names import check_dataset_name


class MountCalls(CommandClient):
    """Mounts and exports. Each call is content when its work is done already."""

    def mount(self, dataset: str) -> None:
        """Mount a file system; one that is mounted already is left alone.

        Raises:
            KeyNotLoaded: it is encrypted and locked.
        """
        self._tolerate(commands.mount_argv(check_dataset_name(dataset)), "mount", "already mounted")

    def unmount(self, dataset: str, *, force: bool = False) -> None:
        """Unmount a file system with those below it; one that is not mounted is left alone.

        Raises:
            Busy: a file in it is open.
        """
        argv = commands.unmount_argv(check_dataset_name(dataset), force=force)
        self._tolerate(argv, "unmount", "not currently mounted")

    def share(self, dataset: str) -> None:
        """Export a file system as its sharenfs and sharesmb say; once is enough."""
        self._tolerate(commands.share_argv(check_dataset_name(dataset)), "share", "already shared")

    def unshare(self, dataset: str) -> None:
        """Take back a file system's export; one that is not exported is left alone."""
        argv = commands.unshare_argv(check_dataset_name(dataset))
        self._tolerate(argv, "unshare", "not currently shared", "legacy share")

    def _tolerate(self, argv: Sequence[str], verb: str, *already: str) -> None:
        """Run a command that may find its work done."""
        try:
            self._run(argv, f"{verb} dataset", argv[-1])
        except StorageError as error:
            if not any(text in error.reason for text in already):
                raise
