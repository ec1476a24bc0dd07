"""A place in memory for tests that are about rules and words, not about disks."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

_PLACE: Final = "/dev/shm"
_NEEDED_BYTES: Final = 1 << 30


@contextmanager
def directory_in_memory() -> Iterator[str]:
    """Give a directory in memory; on disk where there is none, or it is small (containers)."""
    has_room = os.access(_PLACE, os.W_OK) and shutil.disk_usage(_PLACE).free > _NEEDED_BYTES
    place = _PLACE if has_room else None
    with tempfile.TemporaryDirectory(dir=place, prefix="zfsstore-test-") as directory:
        yield os.path.realpath(directory)
