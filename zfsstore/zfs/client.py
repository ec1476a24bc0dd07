"""A typed client of the zfs program, over a runner."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from modules.errors import AlreadyExists, CommandFailed, StorageError
from zfsstore.zfs import commands
from zfsstore.zfs.commands import Dataset
from zfsstore.zfs.errors import classify
from zfsstore.zfs.names import check_dataset_name
from zfsstore.zfs.runner import LocalRunner, Runner


class ZfsClient:
    """Runs zfs commands and raises what failed as an error of the tree.

    Args:
        runner: how to run them; on this machine when None.
    """

    def __init__(self, runner: Runner | None = None) -> None:
        self._runner = runner or LocalRunner()

    def create(self, dataset: str, properties: Mapping[str, str]) -> None:
        """Create and mount a file system.

        Raises:
            AlreadyExists, NotFound: it, or not its parent, exists.
            PermissionDenied: also when it was created but could not be mounted.
        """
        argv = commands.create_argv(check_dataset_name(dataset), properties)
        self._run(argv, "create dataset", dataset)

    def get(
        self, datasets: Sequence[str], properties: Sequence[str], *, depth: int | None = None
    ) -> list[Dataset]:
        """Return file systems, and those *depth* levels below each, with their properties.

        One command for any number. The order is that of zfs: parents before children.

        Raises:
            NotFound: one of *datasets* does not exist.
        """
        for dataset in datasets:
            check_dataset_name(dataset)
        argv = commands.get_argv(datasets, properties, depth=depth)
        return commands.parse_get(self._run(argv, "list datasets of", datasets[-1]), argv=argv)

    def set(self, dataset: str, properties: Mapping[str, str]) -> None:
        """Set properties."""
        argv = commands.set_argv(check_dataset_name(dataset), properties)
        self._run(argv, "set properties of", dataset)

    def rename(self, dataset: str, new_name: str) -> None:
        """Rename a file system with all below it; what is mounted is mounted anew.

        Raises:
            Busy: a file in it is open.
        """
        argv = commands.rename_argv(check_dataset_name(dataset), check_dataset_name(new_name))
        self._run(argv, "rename dataset", dataset)

    def mount(self, dataset: str) -> None:
        """Mount a file system; one that is mounted already is left alone."""
        argv = commands.mount_argv(check_dataset_name(dataset))
        try:
            self._run(argv, "mount dataset", dataset)
        except StorageError as error:
            if "already mounted" not in error.reason:
                raise

    def version(self) -> tuple[int, int, int]:
        """Return the version of the installed zfs program."""
        return commands.parse_version(self._run(commands.version_argv(), "ask", "zfs version"))

    def create_if_absent(self, dataset: str, properties: Mapping[str, str]) -> None:
        """Create a file system unless it exists."""
        try:
            self.create(dataset, properties)
        except AlreadyExists:
            return

    def _run(self, argv: Sequence[str], operation: str, subject: str) -> str:
        """Return what the command printed.

        Raises:
            StorageError: it failed, or the runner did.
        """
        try:
            result: Any = self._runner(list(argv))
        except StorageError:
            raise
        except Exception as error:  # a runner is anybody's code
            raise CommandFailed(
                f"the runner failed: {error}", argv=argv, operation=operation, subject=subject
            ) from error
        if not isinstance(result, Mapping) or not isinstance(result.get("success"), bool):
            raise CommandFailed(
                f"the runner returned {result!r:.80}, not a result",
                argv=argv,
                operation=operation,
                subject=subject,
            )
        if result["success"]:
            return str(result.get("stdout", ""))
        raise classify(
            argv,
            stderr=str(result.get("stderr", "")),
            exit_code=result.get("exit_code"),
            operation=operation,
            subject=subject,
        )
