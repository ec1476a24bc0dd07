"""The client's calls about pools, delegated permissions and what changed."""

from __future__ import annotations

from collections.abc import Sequence

from zfsstore.zfs import delegation as delegations
from zfsstore.zfs import differences, pool_commands
from zfsstore.zfs.classification import classify
from zfsstore.zfs.client_base import JSON_SINCE, CommandClient, several
from zfsstore.zfs.delegation import Delegation
from zfsstore.zfs.differences import Change
from zfsstore.zfs.names import check_dataset_name, check_pool_name, check_snapshot_name
from zfsstore.zfs.pool_commands import PoolStatus, PoolUsage, ScrubAction


class PoolCalls(CommandClient):
    """Pools, as far as a store looks at them: usage, health, scrubs."""

    def list_pools(self, pools: Sequence[str] = ()) -> list[PoolUsage]:
        """Return usage and health of *pools*, of all imported ones when none is named, by name.

        Raises:
            NotFound: one of them is not there.
        """
        for pool in pools:
            check_pool_name(pool)
        argv = pool_commands.list_argv(pools)
        stdout = self._run(argv, "list pools", several(pools) if pools else "")
        return pool_commands.parse_pools(stdout, argv=argv)

    def pool_status(self, pools: Sequence[str] = ()) -> list[PoolStatus]:
        """Return the state of *pools*, of all imported ones when none is named, by name.

        Raises:
            NotFound: one of them is not there.
        """
        for pool in pools:
            check_pool_name(pool)
        as_json = self._has(JSON_SINCE)
        argv = pool_commands.status_argv(pools, as_json=as_json)
        stdout = self._run(argv, "ask for status of", several(pools) if pools else "all pools")
        parse = pool_commands.parse_json_status if as_json else pool_commands.parse_status
        return parse(stdout, argv=argv)

    def scrub(self, pool: str, action: ScrubAction = "start") -> None:
        """Start a scrub, or go on with one that was paused; pause it; or stop it.

        Raises:
            NotFound: no such pool; or nothing to pause or stop.
            Busy: one is running already.
            PermissionDenied: only root may.
        """
        argv = pool_commands.scrub_argv(check_pool_name(pool), action)
        self._run(argv, "scrub pool", pool)


class DelegationCalls(CommandClient):
    """Delegated permissions and differences."""

    def allow(self, dataset: str, delegation: Delegation) -> None:
        """Give permissions on *dataset*; ``delegation.allow_argv`` is the command to show.

        Raises:
            InvalidArgument: no such user, group or permission.
            PermissionDenied: who gives one must have it, and "allow".
        """
        self._delegate(dataset, delegation, revoke=False)

    def unallow(self, dataset: str, delegation: Delegation) -> None:
        """Take permissions on *dataset* that were given there; those that were not is no error."""
        self._delegate(dataset, delegation, revoke=True)

    def list_delegations(self, dataset: str) -> dict[str, list[Delegation]]:
        """Return who may do what to *dataset*: by dataset, itself first, then those above it."""
        argv = delegations.list_argv(check_dataset_name(dataset))
        stdout = self._run(argv, "list permissions of", dataset)
        return delegations.parse_allow(stdout, argv=argv)

    def diff(self, snapshot: str, other: str | None = None) -> list[Change]:
        """Return which files changed from *snapshot* to *other*, or to now; all in memory.

        Args:
            snapshot: the older state.
            other: a later snapshot of it or of a clone, or a clone's dataset; its own when None.

        Raises:
            SnapshotNotFound: no such snapshot.
            InvalidArgument: *other* is not later.
            Conflict: it is not mounted.
        """
        check_snapshot_name(snapshot)
        if other is not None and "@" in other:
            check_snapshot_name(other, field="other")
        elif other is not None:
            check_dataset_name(other, field="other")
        argv = differences.diff_argv(snapshot, other)
        return differences.parse_diff(self._run(argv, "compare snapshot", snapshot), argv=argv)

    def _delegate(self, dataset: str, delegation: Delegation, *, revoke: bool) -> None:
        check_dataset_name(dataset)
        argv = delegations.allow_argv(dataset, delegation, revoke=revoke)
        operation = "take permissions on" if revoke else "give permissions on"
        stdout = self._run(argv, operation, dataset)
        if "error:" in stdout:  # of an unknown user: on standard output, with exit code 0 (2.3.2)
            raise classify(argv, stderr=stdout, exit_code=0, operation=operation, subject=dataset)
