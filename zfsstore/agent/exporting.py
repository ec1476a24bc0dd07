"""Exports of volumes over NFS, for an unprivileged host: read-only, and only what is mounted.

The agent writes the file of exportfs itself. The path is that of the dataset's mount, never one
that was sent. What is exported can be neither unmounted nor renamed nor destroyed before it is
withdrawn, so that no exported path is ever a place where the host's user can put something else.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from modules.errors import InvalidArgument, PermissionDenied, translated_oserror
from zfsstore.agent import mounts
from zfsstore.agent.mounting import Failed, Mounter, failure
from zfsstore.agent.scope import Scope
from zfsstore.exports import DEFAULT_DIRECTORY, Export, FileExports, check_export_path
from zfsstore.exports.files import PREFIX, SUFFIX
from zfsstore.exports.rules import check_clients, check_export_options, check_fsid
from zfsstore.zfs.classification import classify
from zfsstore.zfs.names import check_dataset_name
from zfsstore.zfs.seam import Runner

ACTIONS: Final = ("export", "withdraw", "ask")
_ALWAYS: Final = ("ro", "sync", "no_subtree_check", "crossmnt", "mountpoint")
_CHOICES: Final = ("root_squash", "all_squash", "secure", "insecure")
_CHOICES_WITH_VALUE: Final = ("sec", "xprtsec", "anonuid", "anongid")


@dataclass(frozen=True, slots=True)
class ExportRequest:
    """What is asked for about the export of one dataset."""

    action: str
    dataset: str
    clients: tuple[str, ...] = ()
    options: tuple[str, ...] = ("root_squash",)
    fsid: str = ""

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> ExportRequest:
        """Return the request in *value*.

        Raises:
            InvalidArgument: it is none, or asks for an option that is not offered.
        """
        if unknown := value.keys() - {"action", "dataset", "clients", "options", "fsid"}:
            raise InvalidArgument("unknown member", field=min(unknown)[:80])
        action = value.get("action")
        if action not in ACTIONS:
            raise InvalidArgument(f"must be one of {', '.join(ACTIONS)}", field="action")
        dataset = check_dataset_name(value.get("dataset", ""))
        if action != "export":
            return cls(action, dataset)
        clients, options = value.get("clients", []), value.get("options", ["root_squash"])
        if not isinstance(clients, list) or not isinstance(options, list) or not clients:
            raise InvalidArgument(
                "clients and options are lists, clients not empty", field="export"
            )
        _check_options(check_export_options(options))
        fsid = check_fsid(value.get("fsid", ""))
        return cls(action, dataset, check_clients(clients), tuple(options), fsid)


class Exporter:
    """Writes and removes exports.

    Args:
        directory: which exportfs reads.
    """

    def __init__(
        self, scope: Scope, mounter: Mounter, runner: Runner, directory: str = DEFAULT_DIRECTORY
    ) -> None:
        self._scope = scope
        self._mounter = mounter
        self._runner = runner
        self._directory = directory

    def perform(self, request: ExportRequest) -> bool:
        """Do what is asked for; return whether the dataset is exported then.

        Raises:
            StorageError: it is out of scope, not mounted, or exportfs failed.
        """
        self._scope.require_within([request.dataset])
        with self._mounter.lock:
            if request.action == "export":
                self._files(request.clients, request.options).export(self._export(request))
                return True
            if request.action == "withdraw":
                with self._files().withdrawn(_nameless(request.dataset)):
                    pass
        if request.action == "withdraw":
            self._files().flush()  # may take a second
        return self.is_exported(request.dataset)

    def is_exported(self, dataset: str) -> bool:
        return self._files().is_exported(_nameless(dataset))

    def require_withdrawn(self, dataset: str) -> None:
        """Make sure that neither *dataset* nor one below it is exported, by whomever of ours.

        Raises:
            Failed: one is.
        """
        exported = self._exported_paths()
        for entry in mounts.mounted_tree(dataset):
            if entry.path in exported:
                message = f"dataset is busy: '{entry.source}' is exported, withdraw that first"
                raise Failed(failure(message))

    def _export(self, request: ExportRequest) -> Export:
        for entry in mounts.mounted_tree(request.dataset):
            if entry.source == request.dataset:
                path = check_export_path(entry.path)
                named = _nameless(request.dataset)
                return Export(named.name, named.uuid, request.dataset, path, request.fsid)
        raise InvalidArgument(
            "it is not mounted", field="dataset", operation="export", subject=request.dataset
        )

    def _files(
        self, clients: Sequence[str] = ("localhost",), options: Sequence[str] = ()
    ) -> FileExports:
        every = (*_ALWAYS, *options)
        return FileExports(self._run, clients, options=every, directory=self._directory)

    def _exported_paths(self) -> set[str]:
        with translated_oserror(operation="read exports in", subject=self._directory):
            files = sorted(Path(self._directory).glob(f"{PREFIX}*{SUFFIX}"))
            texts = [file.read_text(errors="surrogateescape") for file in files]
        return {line.split()[0] for text in texts for line in text.splitlines() if line.split()}

    def _run(self, argv: Sequence[str], operation: str, subject: str) -> str:
        result = self._runner(list(argv))
        if result["success"]:
            return result.get("stdout", "")
        stderr, code = result.get("stderr", ""), result.get("exit_code")
        raise classify(argv, stderr=stderr, exit_code=code, operation=operation, subject=subject)


def _nameless(dataset: str) -> Export:
    """Return the export of a dataset as far as its file's name needs it."""
    digest = hashlib.sha256(dataset.encode()).hexdigest()
    return Export(f"zfsstore-{digest[:32]}", "", dataset, "", "")


def _check_options(options: Sequence[str]) -> None:
    for option in options:
        name, equals, _value = option.partition("=")
        if name not in (_CHOICES_WITH_VALUE if equals else _CHOICES):
            raise PermissionDenied(
                f"the agent exports read-only, and does not offer the option {option}",
                operation="export volume",
                hint=f"choose of {', '.join((*_CHOICES, *_CHOICES_WITH_VALUE))}",
            )
