"""Doing what was asked for and authorised: the argv is built anew from the typed operation."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import fields
from typing import Any, Final

from modules.errors import Busy
from zfsstore.agent import mounts
from zfsstore.agent import operations as ops
from zfsstore.agent.exporting import Exporter, ExportRequest
from zfsstore.agent.mounting import DONE, Failed, Mounter, failure, is_volume
from zfsstore.agent.mounts import NotMountable
from zfsstore.agent.scope import SAFE, Scope, dataset_of, is_within
from zfsstore.zfs import commands, snapshot_commands, stream_commands
from zfsstore.zfs.commands import Dataset
from zfsstore.zfs.seam import Runner, RunResult

_NAMES: Final = ("dataset", "name", "new_name", "snapshot", "snapshots", "source", "bookmark")

UNTRUSTED: Final = (
    *("mountpoint", "canmount", "overlay", "sharenfs", "sharesmb", "nbmand"),
    *("context", "fscontext", "defcontext", "rootcontext"),
)
"""What no stream may set: where and how a file system is mounted and shared."""


class Worker:
    """Runs operations, each already authorised.

    Args:
        runner: runs commands to their end, as root.
    """

    def __init__(self, scope: Scope, runner: Runner, mounter: Mounter, exporter: Exporter) -> None:
        self._scope = scope
        self._runner = runner
        self._mounter = mounter
        self._exporter = exporter
        self._claims: set[str] = set()
        self._claims_lock = threading.Lock()

    def perform(self, operation: ops.Operation, run: Runner | None = None) -> RunResult:
        """Do it and return what the command did, or would have said.

        Args:
            run: runs the operation's own command; with a pipe when it streams.

        Raises:
            StorageError: it is refused after a closer look, or could not be run.
        """
        chosen = run or self._runner
        if not isinstance(operation, ops.Reading):
            self._require_unclaimed(operation)
        try:
            return self._perform(operation, chosen)
        except Failed as error:
            return error.result
        except NotMountable as error:
            return failure(str(error))
        except OSError as error:
            return failure(f"cannot {' '.join(operation.argv()[1:3])}: {error.strerror}")

    def export(self, request: ExportRequest) -> bool:
        """Export a dataset, withdraw its export, or tell about it."""
        return self._exporter.perform(request)

    def _perform(self, operation: ops.Operation, run: Runner) -> RunResult:
        match operation:
            case ops.Create():
                return self._create(operation, run)
            case ops.Clone():
                return self._clone(operation)
            case ops.Promote():
                return self._promote(operation)
            case ops.Rename():
                return self._rename(operation)
            case ops.Destroy() if not operation.dry_run and "@" not in operation.name:
                self._exporter.require_withdrawn(operation.name)
            case ops.Mount():
                return self._mounter.mount(*self._mounter.get([operation.dataset]))
            case ops.Unmount():
                return self._unmount(operation)
            case ops.ResumeSend() if not operation.dry_run:
                self._check_token(operation)
            case ops.ResumeSend():
                return self._check_token(operation)
            case ops.Receive():
                return self._receive(operation, run)
        return run(operation.argv())

    def _create(self, operation: ops.Create, run: Runner) -> RunResult:
        is_mounted = "canmount" not in operation.properties
        properties = _safe(operation.properties)
        if is_mounted:
            properties["canmount"] = "noauto"
        result = run(commands.create_argv(operation.dataset, properties, mount=False))
        if not result["success"]:
            if "already exists" in result.get("stderr", ""):  # interrupted before it was given?
                with suppress(Failed, NotMountable, OSError):
                    (present,) = self._mounter.get([operation.dataset])
                    if is_volume(present):
                        self._mounter.give(present.name)
            return result
        if is_mounted and operation.mount:
            return self._mount_new(operation.dataset)
        return result

    def _clone(self, operation: ops.Clone) -> RunResult:
        properties = {**_safe(operation.properties), "canmount": "noauto"}
        argv = snapshot_commands.clone_argv(operation.snapshot, operation.dataset, properties)
        result = self._runner(argv)
        return self._mount_new(operation.dataset) if result["success"] else result

    def _mount_new(self, dataset: str) -> RunResult:
        """Mount what was just made, and give it; in the trash nothing is mounted."""
        (present,) = self._mounter.get([dataset])
        result = self._mounter.mount_all([present])
        if result["success"]:
            with suppress(NotMountable, FileNotFoundError):
                self._mounter.give(dataset)
        return result

    def _promote(self, operation: ops.Promote) -> RunResult:
        (present,) = self._mounter.get([operation.dataset])
        origin = present.value("origin")
        self._scope.require_within([] if origin is None else [origin])
        return self._runner(operation.argv())

    def _rename(self, operation: ops.Rename) -> RunResult:
        """Unmount, rename, and mount at the new place: without a command that follows links."""
        old, new = operation.dataset, operation.new_name
        self._exporter.require_withdrawn(old)
        with self._mounter.lock:
            (top,) = self._mounter.get([old])
            was_unplaced = top.properties["mountpoint"].value in ("none", "legacy")
            entries = self._mounter.unmount(old, force=operation.force)
            result = self._runner(commands.rename_argv(old, new, remount=False))
            if not result["success"]:
                self._mounter.mount_again(entries)
                return result
            if entries:
                mounts.remove_place(self._mounter.root_of(old), old)
            was_mounted = {new + entry.source[len(old) :] for entry in entries}
            every = self._mounter.tree(new)
            return self._mounter.mount_all(
                present for present in every if was_unplaced or present.name in was_mounted
            )

    def _unmount(self, operation: ops.Unmount) -> RunResult:
        self._exporter.require_withdrawn(operation.dataset)
        entries = self._mounter.unmount(operation.dataset, force=operation.force)
        if any(entry.source == operation.dataset for entry in entries):
            return DONE
        return failure(f"cannot unmount '{operation.dataset}': not currently mounted")

    def _check_token(self, operation: ops.ResumeSend) -> RunResult:
        """Make sure that a token asks for a snapshot of ours; return the plan.

        Raises:
            PermissionDenied: of another dataset.
            Failed: it is none, or stale.
        """
        argv = stream_commands.resume_argv(operation.token, dry_run=True)
        result = self._runner(argv)
        if not result["success"]:
            raise Failed(result)
        token = stream_commands.parse_token(result.get("stdout", ""), argv=argv)
        self._scope.require_within([token.snapshot])
        return result

    def _receive(self, operation: ops.Receive, run: Runner) -> RunResult:
        """Receive with nothing mounted by zfs, then look at what came, and mount it."""
        dataset = operation.dataset
        properties = _safe(operation.properties)
        excluded = {*operation.exclude, *UNTRUSTED} - properties.keys()
        with self._claimed(dataset):
            before = self._mounter.tree(dataset)
            entries = mounts.mounted_tree(dataset)
            argv = stream_commands.receive_argv(
                dataset,
                resumable=operation.resumable,
                rollback=operation.rollback,
                properties=properties,
                exclude=sorted(excluded),
            )
            result = run(argv)
            after = self._mounter.tree(dataset)
            self._drop_foreign(before, after)
            self._mounter.keep_from_zfs(after)
            was_mounted = {entry.source for entry in entries}
            again = self._mounter.mount_all(d for d in after if d.name in was_mounted)
            if operation.mount and result["success"]:
                again = self._mounter.mount_all(d for d in after if d.name == dataset)
        return result if not result["success"] or again["success"] else again

    def _drop_foreign(self, before: list[Dataset], after: list[Dataset]) -> None:
        """Destroy what came as a clone of a dataset outside of the roots.

        The stream of a clone names its origin by guid, and zfs finds that in the whole pool: it
        would show the host what is not the host's.

        Raises:
            Failed: there was such a dataset.
        """
        known = {present.value("guid") for present in before}
        foreign = [
            present.name
            for present in after
            if (origin := present.value("origin")) is not None
            and self._scope.root_of(origin) is None
            and present.value("guid") not in known
        ]
        for name in snapshot_commands.topmost_datasets(foreign):
            self._runner(snapshot_commands.destroy_argv(name, recursive=True))
        if foreign:
            message = f"cannot receive '{foreign[0]}': permission denied, its origin is elsewhere"
            raise Failed(failure(message))

    @contextmanager
    def _claimed(self, dataset: str) -> Iterator[None]:
        """Keep everybody off a dataset until what it received has been looked at."""
        with self._claims_lock:
            self._claims.add(dataset)
        try:
            yield
        finally:
            with self._claims_lock:
                self._claims.discard(dataset)

    def _require_unclaimed(self, operation: ops.Operation) -> None:
        moves = isinstance(operation, ops.Rename | ops.Destroy | ops.Receive)
        with self._claims_lock:
            claims = tuple(self._claims)
        for name in map(dataset_of, _names(operation)):
            for claim in claims:
                if is_within(name, claim) or (moves and is_within(claim, name)):
                    raise Busy("a stream is being received", operation="use", subject=claim)


def _safe(properties: Mapping[str, str]) -> dict[str, str]:
    return {**properties, **SAFE}


def _names(operation: ops.Operation) -> Iterator[str]:
    for field in fields(operation):
        value: Any = getattr(operation, field.name)
        if field.name in _NAMES:
            yield from (value,) if isinstance(value, str) else value
