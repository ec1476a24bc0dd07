"""Which tenants have a key of their own, noted outside of them, to be read without a command.

An empty file in ``.zfsstore/encrypted`` of the root makes the error for a locked tenant a better
one ("unlock it" instead of "mount it"). Nothing else depends on it, and each list of volumes
brings it up to date. So a full pool, or a root that belongs to somebody else, fails nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from zfsstore import layout
from zfsstore.volumes.datasets import Found


def note_encrypted(root: str, volumes: Iterable[Found]) -> None:
    """Note exactly these tenants, given all volumes."""
    wanted = {layout.encrypted_path(root, v.name).name for v in volumes if v.has_own_key}
    directory = Path(root, layout.ENCRYPTED)
    with suppress(OSError):
        present = set(os.listdir(directory))
        for name in wanted - present:
            (directory / name).touch(mode=0o600)
        for name in present - wanted:
            (directory / name).unlink(missing_ok=True)


def note_one_encrypted(root: str, tenant: str) -> None:
    """Note a new tenant."""
    with suppress(OSError):
        layout.encrypted_path(root, tenant).touch(mode=0o600)
