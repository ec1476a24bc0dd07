"""Replacing an index that is damaged or lost."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from modules import fences
from modules.durable import fsync_directory
from modules.errors import StorageError, translated_oserror
from modules.wrappers.dedup import schema
from modules.wrappers.dedup.index import Index
from modules.wrappers.dedup.opening import Location, open_database
from modules.wrappers.dedup.rebuilding import RebuildReport
from modules.wrappers.dedup.sqlite_database import SQLiteDatabase

_WORK: Final = "dedup.renewing"
_FILES: Final = tuple(f"{schema.DATABASE_NAME}.db{end}" for end in ("", "-wal", "-shm"))


def known_packs(location: Location) -> list[str]:
    """Return the module_data of the packs that an index has, as far as it can be read."""
    found: list[str] = []
    if not location.has_index:
        return found
    try:
        database = open_database(location)
        with closing(database), database.reading("list packs") as connection:
            for (name,) in connection.execute(
                "SELECT module_data FROM pack WHERE state != ?", (schema.PACK_OPEN,)
            ):
                found.append(name)
    except StorageError:
        pass  # which is why it is made anew: the others name packs, too
    return found


def renew(
    location: Location, make: Callable[[Index], RebuildReport], patience_s: float
) -> RebuildReport:
    """Make the index at *location* anew, alone in its volume; see rebuilding.

    It takes the old one's place when it is complete; that stays as dedup.db.replaced-TIME. Killed
    before, the old one is still there.

    Args:
        make: fills the new index.

    Raises:
        Busy: somebody did not let go of the volume in time.
        NotSupported: it is not in a file.
        StorageError: nothing was changed.
    """
    directory = location.directory
    paths = [] if location.fence is None else [location.fence]
    alone = fences.exclusive(paths, patience_s=patience_s)
    with alone, translated_oserror(operation="replace index", subject=str(directory)):
        work = directory / _WORK
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(mode=0o700)
        try:
            with closing(SQLiteDatabase(work)) as database:
                report = make(Index(database, lambda: 0))
            _take_place(work, directory)
        finally:
            shutil.rmtree(work, ignore_errors=True)
    return report


def _take_place(work: Path, directory: Path) -> None:
    """Rename the new database, which is closed, over the old one; its log must not be left."""
    new, present = work / _FILES[0], directory / _FILES[0]
    if present.exists():
        owner = present.stat()
        mark = f".replaced-{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
        os.link(present, directory / f"{_FILES[0]}{mark}")
        for name in _FILES[1:]:
            if (directory / name).exists():
                os.rename(directory / name, directory / f"{name}{mark}")
    else:
        owner = directory.stat()
    if os.geteuid() == 0:  # what an operator's command makes is the host's user's
        os.chown(new, owner.st_uid, owner.st_gid)
    os.rename(new, present)
    fsync_directory(directory)
