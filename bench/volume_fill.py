"""A bucket filled with many objects, past the store: plain files where it keeps them, and rows."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from bench.data import Pool
from bench.index_commits import load_keys
from bench.measure import timed_threads
from bench.settings import SMALL_BYTES
from zfsstore import ZFSStorage, layout
from zfsstore.host.namespace.index import Index
from zfsstore.host.namespace.sqlite import VolumeDatabase
from zfsstore.host.namespace.store import Store

_INSTANCE: Final = "main"
_THREADS: Final = 2
_CREATE: Final = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC


def fill(store: ZFSStorage, name: str, objects: int, pool: Pool) -> None:
    """Put so many objects of 4 KiB into the empty bucket *name*, and their keys into its index.

    They are not flushed. What was stored is read back through the store and its index: the first
    and the last object, and how many keys there are.

    Raises:
        AssertionError: that is not what was to be stored.
    """
    context = {"tenant": name}
    found = next(volume for volume in store.volumes.list_volumes() if volume["name"] == name)
    path = store.volumes.access_handle(found["uuid"])["path"]
    _write_files(Path(path, layout.OBJECTS, _INSTANCE), objects, pool)
    index = Store(VolumeDatabase(store.state_dir(context)))
    try:
        load_keys(store.state_dir(context), objects, object_id=object_id)
        keys = Index(index).info().key_count
    finally:
        index.close()
    if keys != objects:
        raise AssertionError(f"{name} has {keys} keys, not {objects}")
    for number in (0, objects - 1):
        module_data = layout.format_module_data(_INSTANCE, object_id(number))
        with store.get_read_stream(context, module_data) as stream:
            if stream.read() != pool.source(SMALL_BYTES, number=number).read():
                raise AssertionError(f"object {number} of {name} is not what was stored")


def object_id(number: int) -> str:
    """Return the id of object *number*; they are spread over all directories."""
    return f"{number % len(layout.LEAVES):02x}{number:030x}"


def _write_files(objects: Path, count: int, pool: Pool) -> None:
    def write(thread: int) -> None:
        for number in range(thread, count, _THREADS):
            name = object_id(number)
            fd = os.open(f"{objects}/{name[:2]}/{name}", _CREATE, 0o444)
            try:
                os.write(fd, pool.source(SMALL_BYTES, number=number).read())
            finally:
                os.close(fd)

    timed_threads(_THREADS, write)
