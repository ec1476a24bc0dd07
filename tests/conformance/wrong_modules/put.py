"""Modules that are wrong about storing; each class breaks the one rule it names."""

from __future__ import annotations

import hashlib
import io
import os
from typing import Any

from modules.context import Context, content_length
from modules.errors import InvalidArgument, NoSpace, TruncatedStream
from modules.streams import BLOCK_SIZE, SupportsRead
from simple.simple import SimpleStorage


class ChangesBytes(SimpleStorage):
    """Stores what ``change`` makes of the bytes of an object up to 2 MiB."""

    def put(self, context: Context, stream: SupportsRead) -> str:
        first = _read_up_to(stream, 2 * BLOCK_SIZE + 1)
        if len(first) <= 2 * BLOCK_SIZE:
            expected = content_length(context)
            if expected is not None and expected != len(first):
                raise TruncatedStream("", expected_bytes=expected, received_bytes=len(first))
            bare = {key: value for key, value in context.items() if key != "content_length"}
            return super().put(bare, io.BytesIO(self.change(first)))
        return super().put(context, Joined(first, stream))

    def change(self, data: bytes) -> bytes:
        raise NotImplementedError


class Joined:
    def __init__(self, first: bytes, stream: SupportsRead) -> None:
        self.first, self.stream = io.BytesIO(first), stream

    def read(self, size: int, /) -> bytes:
        return self.first.read(size) or self.stream.read(size)


def _read_up_to(stream: SupportsRead, size: int) -> bytes:
    data = b""
    while len(data) < size and (block := stream.read(size - len(data))):
        data += block
    return data


class ReturnsBytes(SimpleStorage):
    """Takes and gives bytes, as under Python 2."""

    breaks = "put.module-data"

    def put(self, context: Context, stream: SupportsRead) -> Any:
        return super().put(context, stream).encode()

    def _path(self, module_data: Any) -> str:
        return super()._path(module_data.decode() if type(module_data) is bytes else module_data)

    def available(self, context: Context, module_data: Any) -> bool:
        if isinstance(module_data, bytes):
            module_data = module_data.decode()
        return super().available(context, module_data)


class NamesItsDirectory(SimpleStorage):
    """Returns a path: lost as soon as the store moves."""

    breaks = "put.module-data-relative"

    def put(self, context: Context, stream: SupportsRead) -> str:
        return os.path.join(self._directory, super().put(context, stream))

    def _path(self, module_data: str) -> str:
        directory, name = os.path.split(module_data)
        return super()._path(name if directory == self._directory else module_data)

    def available(self, context: Context, module_data: str) -> bool:
        directory, name = os.path.split(module_data)
        return directory == self._directory and super().available(context, name)


class RefusesEmpty(ChangesBytes):
    """Takes an empty object for a mistake."""

    breaks = "put.0-bytes"

    def change(self, data: bytes) -> bytes:
        if not data:
            raise InvalidArgument("there is nothing to store")
        return data


class PadsOneByte(ChangesBytes):
    """Pads to its block size, which is two."""

    breaks = "put.1-byte"

    def change(self, data: bytes) -> bytes:
        return data + b"\0" if len(data) == 1 else data


class LengthIn16Bits(ChangesBytes):
    """Keeps a length in 16 bits, with a correction for larger objects."""

    breaks = "put.64-kib"

    def change(self, data: bytes) -> bytes:
        return data[: len(data) % 65_536] if 65_536 <= len(data) < 66_000 else data


class LosesTheByteAfterABlock(ChangesBytes):
    """Forgets the last block when it is one byte."""

    breaks = "put.1-mib"

    def change(self, data: bytes) -> bytes:
        return data[:-1] if len(data) == BLOCK_SIZE + 1 else data


class SmallOnly(SimpleStorage):
    """Stores no more than 4 MiB."""

    breaks = "put.large"

    def put(self, context: Context, stream: SupportsRead) -> str:
        if (content_length(context) or 0) > 4 * BLOCK_SIZE:
            raise NoSpace("too large for this module")
        return super().put(context, stream)


class ReadsAllAtOnce(SimpleStorage):
    """Holds the whole object in memory."""

    breaks = "put.bounded-memory"

    def put(self, context: Context, stream: SupportsRead) -> str:
        data = b""
        while block := stream.read(8 * BLOCK_SIZE):
            data += block
        return super().put(context, io.BytesIO(data))


class TextMode(ChangesBytes):
    """Opens its files in text mode."""

    breaks = "put.binary"

    def change(self, data: bytes) -> bytes:
        return data.replace(b"\r\n", b"\n")


class StopsAtAShortRead(SimpleStorage):
    """Takes a first read of less than 64 KiB as the end."""

    breaks = "put.short-reads"

    def put(self, context: Context, stream: SupportsRead) -> str:
        class Impatient:
            done = False

            def read(self, size: int, /) -> bytes:
                data = b"" if self.done else stream.read(size)
                self.done = len(data) < 65_536
                return data

        return super().put(context, Impatient())


class NeedsALength(SimpleStorage):
    """Without a content_length, reads once and takes it for all."""

    breaks = "put.unknown-length"

    def put(self, context: Context, stream: SupportsRead) -> str:
        if content_length(context) is None:
            stream = io.BytesIO(stream.read(65_536))
        return super().put(context, stream)


class OneFileForTheSameBytes(SimpleStorage):
    """Names an object by its digest, and counts no references."""

    breaks = "put.same-bytes-twice"

    def put(self, context: Context, stream: SupportsRead) -> str:
        stored = super().put(context, stream)
        with open(self._path(stored), "rb") as file:
            digest = hashlib.file_digest(file, "md5").hexdigest()
        os.rename(self._path(stored), self._path(f"{digest}.dat"))
        return f"{digest}.dat"
