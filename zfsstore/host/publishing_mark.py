"""One publisher at a time, and what its files are the files of.

``view`` in a volume's state directory is locked by whoever publishes; the kernel lets go of it
when the process dies. It holds the sequence of the journal that the files were brought up to. It
is no database, so a snapshot of a directory leaves it out as it leaves out the files: after a
roll-back, in a clone, or when a power cut took files back, it is missing or differs from the index,
and the files are built anew. On ZFS all three are frozen together and stay in step.
"""

from __future__ import annotations

import fcntl
import os
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from modules.errors import Busy, translated_oserror

_NAME: Final = "view"
_FORMAT: Final = struct.Struct("<Q")
_POLL_S: Final = 0.05


class Mark:
    """The sequence that the files were brought up to."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def read(self) -> int | None:
        """Return it, None when nothing is known of the files."""
        content = os.pread(self._fd, _FORMAT.size, 0)
        return int(_FORMAT.unpack(content)[0]) if len(content) == _FORMAT.size else None

    def write(self, sequence: int) -> None:
        """Set it, durably."""
        os.pwrite(self._fd, _FORMAT.pack(sequence), 0)
        os.fsync(self._fd)

    def clear(self) -> None:
        """Nothing is known of the files from here on."""
        os.ftruncate(self._fd, 0)
        os.fsync(self._fd)


@contextmanager
def hold_mark(state_dir: Path, *, patience_s: float = 0.0) -> Iterator[Mark]:
    """Be the one publisher of the volume for as long as the block runs.

    Raises:
        Busy: another is, and went on for *patience_s*.
    """
    deadline = time.monotonic() + patience_s
    with translated_oserror(operation="publish bucket", subject=_NAME):
        fd = os.open(state_dir / _NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            if os.geteuid() == 0:  # what an operator's command makes is the host's user's
                owner = os.stat(state_dir)
                os.fchown(fd, owner.st_uid, owner.st_gid)
            while not _try_lock(fd):
                if time.monotonic() >= deadline:
                    raise Busy(
                        "another process is publishing it",
                        operation="publish bucket",
                        hint="try again in a moment",
                    )
                time.sleep(_POLL_S)
            yield Mark(fd)
        finally:
            os.close(fd)


def _try_lock(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
