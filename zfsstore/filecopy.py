"""Bytes from one open file to another, by the kernel where it can: shared blocks cost nothing."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from typing import Final

from modules.streams import BLOCK_SIZE, write_all

_CHUNK_BYTES: Final = 64 * 1024 * 1024
"""Of one call: a multiple of every recordsize, because only whole records are shared."""

NO_RANGES: Final = frozenset(
    {errno.EXDEV, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL, errno.EPERM, errno.ETXTBSY}
)
"""What says that the kernel cannot do it here."""


def copy_bytes(
    source: int,
    target: int,
    size_bytes: int,
    *,
    before_block: Callable[[int, int], None] = lambda done, size: None,
) -> int:
    """Append *size_bytes* from where *source* is to *target*; return how many there were.

    On ZFS with block cloning, btrfs and XFS the target gets the source's blocks; also from another
    dataset of the same pool. Elsewhere the kernel copies, or we do.

    Args:
        before_block: called with what is done and what comes next, in bytes; may raise.

    Raises:
        OSError: as the file system gave it.
    """
    done = 0
    while done < size_bytes:
        wanted = min(size_bytes - done, _CHUNK_BYTES)
        before_block(done, wanted)
        try:
            moved = os.copy_file_range(source, target, wanted)
        except OSError as error:
            if error.errno not in NO_RANGES:
                raise
            break
        if not moved:  # the end, or a file system (FUSE, /proc) that does not say so
            break
        done += moved
    while done < size_bytes:
        block = os.read(source, min(size_bytes - done, BLOCK_SIZE))
        if not block:
            break
        before_block(done, len(block))
        write_all(lambda data: os.write(target, data), block)
        done += len(block)
    return done
