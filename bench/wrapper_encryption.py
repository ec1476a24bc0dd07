"""EncryptedStorage against the bare cipher, against ``ref_gcm`` and against its inner module."""

from __future__ import annotations

import io
import os
import random
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from bench.cpu import (
    SEGMENT_BYTES,
    Actions,
    GcmReference,
    Row,
    cpu_seconds,
    microseconds_over,
    peak_mib,
    random_file,
    speed_ratio,
)
from bench.settings import Settings
from modules import StorageModule
from modules.context import Context
from modules.streams import SupportsRead
from modules.wrappers.encryption import EncryptedStorage
from simple.simple import SimpleStorage

BLOCK_BYTES: Final = 1 << 20
SMALL_BYTES: Final = 1024
READ_BYTES: Final = 4096


class NullStorage(StorageModule):
    """Reads what it is given, and keeps nothing."""

    def put(self, context: Context, stream: SupportsRead) -> str:
        while stream.read(BLOCK_BYTES):
            pass
        return "null"


def encrypting(inner: StorageModule, directory: Path) -> EncryptedStorage:
    """Return an encrypting wrapper around *inner*, with keys of its own."""
    keys = {
        "table": str(directory / "keys.db"),
        "root": {"provider": "file", "path": str(directory / "root.key")},
        "create": True,
    }
    module = EncryptedStorage(inner="inner", keys=keys)
    module.bind(lambda name: inner)
    return module


def encryption_rows(settings: Settings, directory: Path) -> list[Row]:
    """Return the rows of the encrypting wrapper."""
    size = settings.large_bytes
    source = random_file(directory / "source", size)
    null = encrypting(NullStorage(), directory)
    files = SimpleStorage(storage_dir=str(directory / "objects"))
    module = encrypting(files, directory)
    with open(source, "rb", buffering=0) as file:
        stored = module.put({}, file)
    try:
        return [
            *_streams(settings, source, module, null, stored),
            *_small(settings, null),
            *_random_reads(settings, module, files, stored, size),
            *_memory(source, module, stored),
        ]
    finally:
        module.delete({}, stored)


def _streams(
    settings: Settings,
    source: Path,
    module: EncryptedStorage,
    null: EncryptedStorage,
    stored: str,
) -> Iterator[Row]:
    reference = GcmReference(source, source.with_name("reference"))

    def put() -> None:
        with open(source, "rb", buffering=0) as file:
            made = module.put({"content_length": settings.large_bytes}, file)
        module.delete({}, made)

    def get() -> None:
        with closing(module.get_read_stream({}, stored)) as stream:
            while stream.read(BLOCK_BYTES):
                pass

    actions: Actions = {
        "cipher": lambda: _encrypt_into(settings.large_bytes),
        "null": lambda: null.put({}, _Repeating(settings.large_bytes)),
        "ref put": reference.put,
        "put": put,
        "ref get": reference.get,
        "get": get,
    }
    reference.put()
    spent = cpu_seconds(actions, settings.rounds)
    yield Row("put into nothing, to encrypt_into", speed_ratio(spent, "null", "cipher"), "x", 0.7)
    yield Row("put into a file, to ref_gcm", speed_ratio(spent, "put", "ref put"), "x", 0.9)
    yield Row("sequential get, to ref_gcm", speed_ratio(spent, "get", "ref get"), "x", 0.9)


def _small(settings: Settings, null: EncryptedStorage) -> Iterator[Row]:
    data, count = os.urandom(SMALL_BYTES), settings.small_puts * 5
    bare = NullStorage()

    def puts(module: StorageModule) -> None:
        for _ in range(count):
            module.put({"content_length": SMALL_BYTES}, io.BytesIO(data))

    spent = cpu_seconds({"null": lambda: puts(bare), "put": lambda: puts(null)}, settings.rounds)
    over = microseconds_over(spent, "put", "null", count)
    yield Row("put of 1 KiB, over the inner put", over, "us", 40)


def _random_reads(
    settings: Settings, module: EncryptedStorage, files: SimpleStorage, stored: str, size: int
) -> Iterator[Row]:
    count = settings.small_puts * 2
    numbers = random.Random(1)
    offsets = [numbers.randrange(size - READ_BYTES) for _ in range(count)]
    sealed = SEGMENT_BYTES + 16
    with (
        closing(module.get_read_stream({}, stored)) as stream,
        closing(files.get_read_stream({}, stored.rpartition(":")[2])) as inner,
    ):

        def encrypted() -> None:
            for offset in offsets:
                stream.seek(offset)
                stream.read(READ_BYTES)

        def plain() -> None:
            for offset in offsets:
                inner.seek(offset // SEGMENT_BYTES * sealed)
                inner.read(sealed)

        spent = cpu_seconds({"plain": plain, "encrypted": encrypted}, settings.rounds)
    over = microseconds_over(spent, "encrypted", "plain", count)
    yield Row("read of 4 KiB anywhere, over the inner read", over, "us", 60)


def _memory(source: Path, module: EncryptedStorage, stored: str) -> Iterator[Row]:
    def put() -> None:
        with open(source, "rb", buffering=0) as file:
            module.delete({}, module.put({}, file))

    def get() -> None:
        with closing(module.get_read_stream({}, stored)) as stream:
            while stream.read(BLOCK_BYTES):
                pass

    yield Row("memory of a put, the inner one included", peak_mib(put), "MiB", 4)
    yield Row("memory of a get", peak_mib(get), "MiB", 4)


def _encrypt_into(size: int) -> None:
    """Run the cipher over *size* bytes, and do nothing else."""
    aead, block = AESGCM(bytes(32)), memoryview(_Repeating.block)
    sealed = bytearray(SEGMENT_BYTES + 16)
    for number in range(size // SEGMENT_BYTES):
        start = number % 16 * SEGMENT_BYTES
        part = block[start : start + SEGMENT_BYTES]
        aead.encrypt_into(number.to_bytes(12, "big"), part, None, sealed)


class _Repeating:
    """A source that costs next to nothing: the same bytes again and again."""

    block: Final = os.urandom(BLOCK_BYTES)

    def __init__(self, size: int) -> None:
        self._left = size
        self._blocks = {BLOCK_BYTES: self.block}

    def read(self, size: int = -1, /) -> bytes:
        wanted = min(size, self._left, BLOCK_BYTES)
        self._left -= wanted
        if wanted not in self._blocks:
            self._blocks[wanted] = self.block[:wanted]
        return self._blocks[wanted]
