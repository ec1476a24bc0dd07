"""What every way to export volumes over NFS has in common."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Final, Protocol

from modules.errors import StorageError

DEFAULT_OPTIONS: Final = (
    "rw",
    "sync",
    "no_subtree_check",
    "root_squash",
    "crossmnt",
    "mountpoint",  # never the bare directory below a dataset that is not mounted
)

_log = logging.getLogger(__name__)

Run = Callable[[Sequence[str], str, str], str]
"""``run(argv, operation, subject)`` returns what the command printed or raises a StorageError."""


@dataclass(frozen=True, slots=True)
class Export:
    """One volume as it is, or shall be, exported."""

    name: str
    uuid: str
    dataset: str
    path: str
    fsid: str


class Exports(Protocol):
    """A way to export volumes over NFS."""

    def export(self, export: Export) -> None:
        """Export the volume, durably; again is no error.

        Raises:
            StorageError: it is not exported; how it was before stays.
        """

    def withdrawn(self, export: Export) -> AbstractContextManager[None]:
        """Return a context in which the volume is not exported; it is again when that fails."""

    def renamed(self, export: Export, renamed: Export) -> None:
        """Go on exporting a volume that has another name now, and the same path and fsid."""

    def is_exported(self, export: Export) -> bool:
        """Return whether the volume was exported, and not withdrawn since."""


class NoExports:
    """For whoever exports volumes in another way."""

    def export(self, export: Export) -> None:
        """Do nothing."""

    @contextmanager
    def withdrawn(self, export: Export) -> Iterator[None]:
        """Do nothing."""
        yield

    def renamed(self, export: Export, renamed: Export) -> None:
        """Do nothing."""

    def is_exported(self, export: Export) -> bool:
        """Return False."""
        return False


@contextmanager
def logged(operation: str, name: str) -> Iterator[None]:
    """Log an error instead of raising it: another one is on its way to the caller."""
    try:
        yield
    except StorageError as error:
        _log.error("cannot %s %s: %s", operation, name, error)
