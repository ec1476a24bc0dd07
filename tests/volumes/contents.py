"""What is in a store, in words that can be compared: no uuids that are made by chance."""

from __future__ import annotations

import io
import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from modules.state import open_database, open_snapshot_database
from zfsstore import ZFSStorage
from zfsstore.volumes.directory import DirectoryVolumes


def backend(store: ZFSStorage) -> DirectoryVolumes:
    """Return the store's volumes with all their calls."""
    volumes = store.volumes
    assert isinstance(volumes, DirectoryVolumes)
    return volumes


def add(store: ZFSStorage, volume: str, content: bytes) -> str:
    """Store an object and, in one transaction after it, its row; return its module_data."""
    context = {"tenant": volume}
    module_data = store.put({**context, "content_length": len(content)}, io.BytesIO(content))
    with closing(items(store, volume)) as connection:
        connection.execute("INSERT INTO item VALUES (?, ?)", (module_data, content))
    return module_data


def remove(store: ZFSStorage, volume: str, module_data: str) -> None:
    """Delete an object's row and then the object."""
    with closing(items(store, volume)) as connection:
        connection.execute("DELETE FROM item WHERE name = ?", (module_data,))
    store.delete({"tenant": volume}, module_data)


def items(store: ZFSStorage, volume: str) -> sqlite3.Connection:
    """Open the live index of a volume, for the table ``item``."""
    connection = open_database(store.state_dir({"tenant": volume}), "index")
    connection.execute("CREATE TABLE IF NOT EXISTS item (name TEXT PRIMARY KEY, content BLOB)")
    return connection


def frozen_items(store: ZFSStorage, volume: str, snapshot: str) -> dict[str, bytes]:
    """Return the rows of a snapshot, having compared every object with its row."""
    context = {"tenant": volume, "snapshot": snapshot}
    directory = store.state_dir(context)
    assert not [name for name in os.listdir(directory) if not name.endswith(".db")]
    if not os.path.exists(directory / "index.db"):
        return {}
    with closing(
        open_snapshot_database(directory, "index", cache_directory=Path("/nonexistent"))
    ) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        rows = dict(connection.execute("SELECT name, content FROM item").fetchall())
    _compare(store, context, rows)
    return rows


def live_items(store: ZFSStorage, volume: str) -> dict[str, bytes]:
    """Return the rows of a live volume, having compared every object with its row."""
    with closing(items(store, volume)) as connection:
        rows = dict(connection.execute("SELECT name, content FROM item").fetchall())
    _compare(store, {"tenant": volume}, rows)
    return rows


def describe(store: ZFSStorage) -> dict[str, Any]:
    """Return all that is in a store: volumes, their contents, snapshots and origins, the trash."""
    volumes = backend(store)
    return {
        volume["name"]: {
            "size": volume["size_bytes"],
            "type": volume["vol_type"],
            "used": volume.get("used_bytes"),
            "origin": volume.get("clone"),
            "items": sorted(live_items(store, volume["name"]).values()),
            "snapshots": [
                (one["name"], sorted(frozen_items(store, volume["name"], one["name"]).values()))
                for one in volumes.list_snapshots(volume["uuid"])
            ],
        }
        for volume in volumes.list_volumes()
    } | {".trash": [entry.name for entry in volumes.list_trash()]}


def _compare(store: ZFSStorage, context: dict[str, Any], rows: dict[str, bytes]) -> None:
    for module_data, content in rows.items():
        with store.get_read_stream(context, module_data) as stream:
            assert stream.read() == content
