"""NFS exports through the agent: the host's side of :mod:`zfsstore.agent.exporting`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from zfsstore.agent.client import ask_export
from zfsstore.agent.protocol import DEFAULT_SOCKET
from zfsstore.exports.base import Export, logged


class AgentExports:
    """Exports datasets read-only, at the path where the agent has mounted them.

    Args:
        path: of the agent's socket.
        clients: who may mount, as for :class:`zfsstore.exports.FileExports`.
        options: root_squash or all_squash, and others that the agent offers.
    """

    def __init__(
        self,
        path: str = DEFAULT_SOCKET,
        clients: Sequence[str] = (),
        *,
        options: Sequence[str] = ("root_squash",),
    ) -> None:
        self._path = path
        self._clients = list(clients)
        self._options = list(options)

    def export(self, export: Export) -> None:
        """Export the dataset, durably; again is no error.

        Raises:
            PermissionDenied: an option is not offered, or the dataset is not the agent's.
            InvalidArgument: it is not mounted, or an argument is malformed.
        """
        if self._clients:
            asked = {"clients": self._clients, "options": self._options, "fsid": export.fsid}
            self._ask("export", export, **asked)

    @contextmanager
    def withdrawn(self, export: Export) -> Iterator[None]:
        """Withdraw the export inside the block; put it back when that fails."""
        was_exported = self.is_exported(export)
        if was_exported:
            self._ask("withdraw", export)
        try:
            yield
        except BaseException:
            if was_exported:
                with logged("export volume", export.name):
                    self.export(export)
            raise

    def renamed(self, export: Export, renamed: Export) -> None:
        """Do nothing: an exported dataset cannot be renamed before it is withdrawn."""

    def flush(self) -> None:
        """Do nothing: withdrawing does."""

    def is_exported(self, export: Export) -> bool:
        """Return whether the dataset was exported, and not withdrawn since."""
        return self._ask("ask", export)

    def _ask(self, action: str, export: Export, **arguments: Any) -> bool:
        return ask_export(self._path, {"action": action, "dataset": export.dataset, **arguments})
