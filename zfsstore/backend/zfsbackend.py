"""The backend's construction, and what it says about itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

from zfsstore.backend.operator_calls import OperatorCalls
from zfsstore.backend.settings import ExportKind, Settings
from zfsstore.zfs.runner import Runner


class ZfsBackend(OperatorCalls):
    """Volumes as file systems of one ZFS dataset, mounted below a directory, exported over NFS.

    All state is in ZFS: backends in other processes see the same volumes under the same uuids.
    May be used by many threads when its runner may.

    Args:
        pool: the pool or dataset whose children are the volumes.
        data_lif: the host or address that clients mount from.
        nfs_clients: who may mount: hosts, addresses, networks, "@netgroup", "*.example.org".
            Nobody when empty; then nothing is exported.
        dataset_owner: of each new volume's root directory, "user" or "user:group".
        dataset_mode: of each new volume's root directory, "0755".
        exports_dir: where exportfs reads files; on this machine, whatever the runner does.
        srv_root: the directory that volumes are mounted below.
        runner: sees and runs every command; on this machine when None.
        export_options: of exports(5), for all clients; root_squash by default.
        exports: "files"; "sharenfs", the property of ZFS; or "none".
        retry_base_s: the first delay before a busy volume is destroyed again; doubles.
        max_destroy_retries: how often.

    Raises:
        InvalidArgument: an argument is not valid; ``field`` names it. Runs no command.
    """

    def __init__(
        self,
        pool: str | None = None,
        data_lif: str | None = None,
        nfs_clients: Sequence[str] | None = None,
        dataset_owner: str | None = None,
        dataset_mode: str | None = None,
        exports_dir: str | None = None,
        srv_root: str | None = None,
        runner: Runner | None = None,
        *,
        export_options: Sequence[str] | None = None,
        exports: ExportKind = "files",
        retry_base_s: float = 1.0,
        max_destroy_retries: int = 5,
    ) -> None:
        settings = Settings.checked(
            pool=pool,
            data_lif=data_lif,
            nfs_clients=nfs_clients,
            dataset_owner=dataset_owner,
            dataset_mode=dataset_mode,
            exports_dir=exports_dir,
            srv_root=srv_root,
            export_options=export_options,
            exports=exports,
            retry_base_s=retry_base_s,
            max_destroy_retries=max_destroy_retries,
        )
        super().__init__(settings, runner)

    def capabilities(self) -> dict[str, bool]:
        """Return which tiers are offered; replication when the runner can stream."""
        return {"snapshots": True, "clones": True, "replication": self._zfs.can_stream}

    def as_snapshot(self) -> Self:
        """Return the tier that takes snapshots."""
        return self

    def as_clone(self) -> Self:
        """Return the tier that makes clones."""
        return self

    def as_replication(self) -> Self | None:
        """Return the tier that sends and receives, None when the runner cannot stream."""
        return self if self.capabilities()["replication"] else None
