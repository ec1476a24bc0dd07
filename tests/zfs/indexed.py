"""A small store of keys on ZFSStorage: objects in files, keys in a database of the volume."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from modules import fences
from modules.state import open_database, open_snapshot_database
from modules.volumes import Volume
from tests.storage.helpers import get, put
from tests.zfs.datasets import path_of
from zfsstore import ZFSStorage, layout
from zfsstore.volumes.zfs import ZfsVolumes

Context = dict[str, Any]


def zfs_volumes(store: ZFSStorage) -> ZfsVolumes:
    """Return the backend, which gives up after a second."""
    volumes = store.volumes
    assert isinstance(volumes, ZfsVolumes)
    volumes.patience_s = 1.0
    return volumes


def new_tenant(store: ZFSStorage, *buckets: str) -> str:
    """Create a tenant of a name of its own, with buckets."""
    name = f"t{secrets.token_hex(4)}"
    store.volumes.create_volume(name)
    for bucket in buckets:
        store.volumes.create_volume(f"{name}/{bucket}")
    return name


@contextmanager
def index(store: ZFSStorage, name: str) -> Iterator[Any]:
    """Open the index as a host does: under the fence of its volume."""
    context = {"tenant": name}
    with (
        fences.hold(store.fence(context)),
        closing(open_database(store.state_dir(context), "index")) as connection,
    ):
        connection.execute("CREATE TABLE IF NOT EXISTS object (key PRIMARY KEY, data)")
        yield connection


def write(store: ZFSStorage, name: str, key: str, content: bytes) -> None:
    """Store an object and its key."""
    with index(store, name) as connection:
        module_data = put(store, {"tenant": name}, content)
        connection.execute("INSERT OR REPLACE INTO object VALUES (?, ?)", (key, module_data))


def read(store: ZFSStorage, name: str, tmp_path: Path | None = None) -> dict[str, bytes]:
    """Return every key with its content, of a volume or of VOLUME@SNAPSHOT; all is verified."""
    volume, at, snapshot = name.partition("@")
    context: Context = {"tenant": volume}
    if at:
        assert tmp_path is not None
        context["snapshot"] = snapshot
        directory = store.state_dir(context)
        cache = tmp_path / secrets.token_hex(4)
        connection = open_snapshot_database(directory, "index", cache_directory=cache)
        with closing(connection):
            return _contents(store, context, connection)
    with index(store, volume) as connection:
        return _contents(store, context, connection)


def _contents(store: ZFSStorage, context: Context, connection: Any) -> dict[str, bytes]:
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    rows = connection.execute("SELECT key, data FROM object ORDER BY key").fetchall()
    return {key: get(store, context, module_data) for key, module_data in rows}


def record(store: ZFSStorage, name: str) -> dict[str, Any]:
    """Return volume.json."""
    path = path_of(store, name) / layout.VOLUME_FILE
    loaded: dict[str, Any] = json.loads(path.read_bytes())
    return loaded


def snapshot(store: ZFSStorage, volume: Volume, name: str) -> str:
    """Take a snapshot and return its uuid."""
    return str(zfs_volumes(store).create_snapshot(volume["uuid"], name)["uuid"])
