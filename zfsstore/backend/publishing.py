"""Making a mounted volume reachable: exported, and owned by whom it is for."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from modules.errors import Busy
from zfsstore.backend.settings import Settings, check_mode, check_owner
from zfsstore.exports import Export, Exports, FileExports, NoExports, SharenfsExports
from zfsstore.exports.base import Run

_NFS_HINT: Final = "what NFS 4 clients hold is in /proc/fs/nfsd/clients/*/states"


@dataclass(frozen=True, slots=True)
class Publication:
    """Whose a volume shall be, and whether it is exported; None leaves owner or mode alone."""

    owner: str | None = None
    mode: str | None = None
    is_exported: bool = False

    def __post_init__(self) -> None:
        if self.owner is not None:
            check_owner(self.owner, field="owner")
        if self.mode is not None:
            check_mode(self.mode, field="mode")


class Publisher:
    """Exports volumes and gives them to their owners."""

    def __init__(self, settings: Settings, run: Run) -> None:
        self._settings = settings
        self._run = run
        self.as_configured = Publication(
            owner=settings.owner, mode=settings.mode, is_exported=bool(settings.nfs_clients)
        )
        self.exports = _exports(settings, run)

    def publish(self, export: Export, publication: Publication | None = None) -> None:
        """Export what is mounted at the export's path, and set its owner and mode.

        Raises:
            StorageError: one of these failed; the earlier ones stay.
        """
        wanted = publication or self.as_configured
        if wanted.is_exported:
            self.exports.export(export)
        if wanted.owner is not None:
            self._run(["chown", wanted.owner, export.path], "set owner of volume", export.name)
        if wanted.mode is not None:
            self._run(["chmod", wanted.mode, export.path], "set mode of volume", export.name)

    def patiently(self, call: Callable[[], None]) -> None:
        """Repeat *call* while something is busy: the kernel lets go of an export a little later.

        Raises:
            Busy: it is busy still, after the retries of the settings.
        """
        delay_s = self._settings.retry_base_s
        for _attempt in range(self._settings.max_destroy_retries):
            try:
                return call()
            except Busy:
                time.sleep(delay_s)
                delay_s *= 2
                self.exports.flush()
        try:
            return call()
        except Busy as error:
            error.hint = f"{error.hint}; {_NFS_HINT}" if error.hint else _NFS_HINT
            raise


def _exports(settings: Settings, run: Run) -> Exports:
    if settings.exports == "sharenfs":
        return SharenfsExports(run, settings.nfs_clients, options=settings.export_options)
    if settings.exports == "none":
        return NoExports()
    return FileExports(
        run,
        settings.nfs_clients,
        options=settings.export_options,
        directory=settings.exports_dir,
    )
