"""Streams and looks at the disk, shared by the tests of the store."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

from zfsstore import ZFSStorage


def put(store: ZFSStorage, context: dict[str, Any], content: bytes) -> str:
    """Store *content*, with its length in the context."""
    return store.put({**context, "content_length": len(content)}, io.BytesIO(content))


def get(store: ZFSStorage, context: dict[str, Any], module_data: str) -> bytes:
    """Return an object's bytes."""
    with store.get_read_stream(context, module_data) as stream:
        return stream.read()


def object_files(volume: Path) -> list[str]:
    """Return the paths below ``.zfsstore/objects`` of a volume, sorted."""
    objects = volume / ".zfsstore" / "objects"
    return sorted(
        os.path.relpath(os.path.join(where, name), objects)
        for where, _directories, names in os.walk(objects)
        for name in names
    )


class Broken:
    """A stream that gives some blocks and then raises."""

    def __init__(self, error: Exception, *, blocks: int = 1, block: bytes = b"x" * 1000) -> None:
        self._error = error
        self._blocks = blocks
        self._block = block
        self.reads = 0

    def read(self, size: int, /) -> bytes:
        self.reads += 1
        if self.reads > self._blocks:
            raise self._error
        return self._block
