"""What every way to export volumes over NFS has in common."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
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

_FLUSHED_AT: Final = "/proc/net/rpc/nfsd.export/flush"
_LONGEST_WAIT_S: Final = 30.0

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

    def flush(self) -> None:
        """Let the kernel forget what it remembers of exports, and so of what is withdrawn."""

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

    def flush(self) -> None:
        """Do nothing."""

    def is_exported(self, export: Export) -> bool:
        """Return False."""
        return False


@contextmanager
def logged(operation: str, name: str) -> Iterator[None]:
    """Log an error instead of raising it, where that would hide, or become, a worse one."""
    try:
        yield
    except StorageError as error:
        _log.error("cannot %s %s: %s", operation, name, error)


def flush_kernel(run: Run) -> None:
    """Let the kernel look up all exports anew.

    The kernel counts flushes in seconds: one soon after another only takes effect when the clock
    has caught up, and until the next flush after that, or half a minute, what was withdrawn keeps
    its file system busy. So this waits for the clock first, where the kernel is this machine's.

    Source: Linux 6.1, net/sunrpc/cache.c (write_flush, cache_clean).
    """
    with suppress(OSError, ValueError):
        behind_s = int(Path(_FLUSHED_AT).read_text()) + 1 - time.time()
        time.sleep(min(max(behind_s, 0), _LONGEST_WAIT_S))
    with logged("flush", "exports"):
        run(["exportfs", "-f"], "flush", "exports")
