"""The set of live objects that a sweep is given, in bounded memory."""

from __future__ import annotations

import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Final, Self

from zfsstore.s3store.layout import DIGEST_BYTES, ModuleData

_SPILL_BYTES: Final = 64 * 1024
_SIZE_BYTES: Final = 8


class LiveObjects:
    """The live objects by the first digits of their ids, in bounded memory. Used in ``with``."""

    def __init__(self, *, spill_bytes: int = _SPILL_BYTES) -> None:
        self._buffers: dict[str, bytearray] = {}
        self._spill_bytes = spill_bytes
        self._directory: tempfile.TemporaryDirectory[str] | None = None

    def add(self, data: ModuleData) -> None:
        """Add an object; adding one twice is harmless."""
        leaf = data.object_id[:2]
        buffer = self._buffers.setdefault(leaf, bytearray())
        buffer += bytes.fromhex(data.object_id) + data.size.to_bytes(_SIZE_BYTES, "big") + data.root
        if len(buffer) >= self._spill_bytes:
            if self._directory is None:
                self._directory = tempfile.TemporaryDirectory(prefix="zfsstore-sweep-")
            with open(Path(self._directory.name, leaf), "ab") as file:
                file.write(buffer)
            buffer.clear()

    def of_leaf(self, leaf: str) -> dict[str, ModuleData]:
        """Return the objects whose ids begin with *leaf*, by id."""
        content = bytes(self._buffers.get(leaf, b""))
        if self._directory is not None:
            with suppress(FileNotFoundError):
                content += Path(self._directory.name, leaf).read_bytes()
        length = 2 * DIGEST_BYTES + _SIZE_BYTES
        found = {}
        for start in range(0, len(content), length):
            record = content[start : start + length]
            object_id = record[:DIGEST_BYTES].hex()
            size = int.from_bytes(record[DIGEST_BYTES:-DIGEST_BYTES], "big")
            found[object_id] = ModuleData(object_id, size, record[-DIGEST_BYTES:])
        return found

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._directory is not None:
            self._directory.cleanup()
