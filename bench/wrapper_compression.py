"""CompressedStorage against bare zstd of the same frames."""

from __future__ import annotations

import os
import sysconfig
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Final

import zstandard

from bench.cpu import Row, cpu_seconds, peak_mib, speed_ratio
from bench.settings import Settings
from bench.wrapper_encryption import NullStorage
from modules import StorageModule
from modules.wrappers.compression import CompressedStorage
from modules.wrappers.compression.format import FRAME_BYTES
from simple.simple import SimpleStorage

BLOCK_BYTES: Final = 1 << 20
_MOST_BYTES: Final = 256 << 20


def compressing(inner: StorageModule) -> CompressedStorage:
    """Return a compressing wrapper around *inner*."""
    module = CompressedStorage(inner="inner")
    module.bind(lambda name: inner)
    return module


def compression_rows(settings: Settings, directory: Path) -> list[Row]:
    """Return the rows of the compressing wrapper; of 256 MiB of Python's sources at most."""
    source = _source_file(directory / "source", min(settings.large_bytes, _MOST_BYTES))
    null = compressing(NullStorage())
    module = compressing(SimpleStorage(storage_dir=str(directory / "objects")))
    with open(source, "rb", buffering=0) as file:
        stored = module.put({}, file)
    frames = _frames(source)
    try:
        return [*_streams(settings, source, module, null, stored, frames)]
    finally:
        module.delete({}, stored)


def _streams(
    settings: Settings,
    source: Path,
    module: CompressedStorage,
    null: CompressedStorage,
    stored: str,
    frames: list[bytes],
) -> Iterator[Row]:
    def bare_put() -> None:
        compressor = zstandard.ZstdCompressor(level=1, write_checksum=True)
        with open(source, "rb", buffering=0) as file:
            while block := file.read(FRAME_BYTES):
                compressor.compress(block)

    def bare_get() -> None:
        decompressor = zstandard.ZstdDecompressor()
        for frame in frames:
            decompressor.decompress(frame)

    def put(into: CompressedStorage = null) -> str:
        with open(source, "rb", buffering=0) as file:
            return into.put({}, file)

    def get() -> None:
        with closing(module.get_read_stream({}, stored)) as stream:
            while stream.read(BLOCK_BYTES):
                pass

    spent = cpu_seconds(
        {"bare put": bare_put, "put": put, "bare get": bare_get, "get": get}, settings.rounds
    )
    yield Row("put into nothing, to bare zstd -1", speed_ratio(spent, "put", "bare put"), "x", 0.85)
    yield Row("sequential get, to bare zstd -d", speed_ratio(spent, "get", "bare get"), "x", 0.5)
    yield Row("memory of a put, the inner one included", peak_mib(put), "MiB", 4)
    yield Row("memory of a get", peak_mib(get), "MiB", 4)


def _frames(source: Path) -> list[bytes]:
    compressor = zstandard.ZstdCompressor(level=1, write_checksum=True)
    with open(source, "rb", buffering=0) as file:
        return [compressor.compress(block) for block in iter(lambda: file.read(FRAME_BYTES), b"")]


def _source_file(path: Path, size_bytes: int) -> Path:
    """Write the standard library's sources, again and again, and return *path*."""
    library = Path(sysconfig.get_paths()["stdlib"])
    content = b"".join(file.read_bytes() for file in sorted(library.glob("*.py")))
    with open(path, "wb") as file:
        while file.tell() < size_bytes:
            file.write(content)
    os.truncate(path, size_bytes)
    return path
