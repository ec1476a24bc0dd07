"""Reproducible, incompressible bytes to store, cheap enough not to be what is measured."""

from __future__ import annotations

import random
from typing import Final

POOL_BYTES: Final = 32 * 1024 * 1024
BLOCK_BYTES: Final = 1024 * 1024


class Pool:
    """A buffer of random bytes that every object of a run is cut from."""

    def __init__(self, *, seed: int = 1) -> None:
        self.bytes = random.Random(seed).randbytes(POOL_BYTES)

    def source(self, size_bytes: int, *, number: int = 0) -> Source:
        """Return the stream of object *number*; the same number gives the same bytes."""
        return Source(self.bytes, size_bytes, start=number * 4096 % POOL_BYTES)


class Source:
    """What a put reads from: *size_bytes* bytes of a pool, from *start*, round and round."""

    def __init__(self, pool: bytes, size_bytes: int, *, start: int = 0) -> None:
        self._pool = pool
        self._position = start
        self._left = size_bytes

    def read(self, size: int = -1, /) -> bytes:
        """Return up to *size* bytes; short where the pool starts again; ``b""`` at the end."""
        wanted = self._left if size < 0 else min(size, self._left)
        position = self._position
        block = self._pool[position : position + wanted]
        self._left -= len(block)
        self._position = (position + len(block)) % len(self._pool)
        return block
