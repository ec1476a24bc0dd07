"""Modules that are wrong about a put that fails; each class breaks the one rule it names."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager

from modules.context import Context, content_length
from modules.errors import TruncatedStream
from modules.streams import BLOCK_SIZE, SupportsRead, copy
from simple.simple import SimpleStorage
from tests.conformance.wrong_modules.put import Joined


class StoresWhatCame(SimpleStorage):
    """Takes an error of the stream for its end."""

    breaks = "put.stream-error"

    def put(self, context: Context, stream: SupportsRead) -> str:
        failed = False

        class Tolerant:
            def read(self, size: int, /) -> bytes:
                nonlocal failed
                try:
                    return stream.read(size)
                except (OSError, RuntimeError):
                    failed = True
                    return b""

        data = Tolerant()
        first = data.read(BLOCK_SIZE)
        if failed or not first:
            context = {}
        try:
            return super().put(context, Joined(first, data))
        except TruncatedStream:
            if not failed:
                raise
            return super().put({}, io.BytesIO(first))


class IgnoresTooFew(SimpleStorage):
    """Counts only what is too much."""

    breaks = "put.truncated-stream"

    def put(self, context: Context, stream: SupportsRead) -> str:
        try:
            return super().put(context, _Rewindable.of(stream))
        except TruncatedStream as error:
            if error.received_bytes > (error.expected_bytes or 0):
                raise
            return super().put({}, io.BytesIO(_Rewindable.last))


class _Rewindable:
    """Remembers the last 1 MiB read."""

    last = b""

    def __init__(self, stream: SupportsRead) -> None:
        self.stream = stream

    @classmethod
    def of(cls, stream: SupportsRead) -> _Rewindable:
        cls.last = b""
        return cls(stream)

    def read(self, size: int, /) -> bytes:
        block = self.stream.read(size)
        type(self).last = (self.last + block)[-BLOCK_SIZE:]
        return block


class CutsAtTheLength(SimpleStorage):
    """Reads content_length bytes and does not look for more."""

    breaks = "put.overlong-stream"

    def put(self, context: Context, stream: SupportsRead) -> str:
        length = content_length(context)
        if length is None:
            return super().put(context, stream)
        left = length

        class Cut:
            def read(self, size: int, /) -> bytes:
                nonlocal left
                block = stream.read(min(size, left)) if left else b""
                left -= len(block)
                return block

        return super().put(context, Cut())


class LeavesItsTemporaryFile(SimpleStorage):
    """Does not clean up when the stream fails."""

    breaks = "put.nothing-left"

    def put(self, context: Context, stream: SupportsRead) -> str:
        try:
            return super().put(context, stream)
        except BaseException:
            with open(os.path.join(self._directory, f"{os.urandom(8).hex()}.part"), "wb"):
                raise


class WritesUnderTheFinalName(SimpleStorage):
    """Writes where readers look."""

    breaks = "put.invisible-until-complete"

    def put(self, context: Context, stream: SupportsRead) -> str:
        name = f"{os.urandom(16).hex()}.dat"
        with _removed_on_error(self._path(name)) as file:
            copy(stream, file.write, expected_bytes=content_length(context))
        return name


@contextmanager
def _removed_on_error(path: str) -> Iterator[io.FileIO]:
    with io.FileIO(path, "xb") as file:
        try:
            yield file
        except BaseException:
            os.unlink(path)
            raise
