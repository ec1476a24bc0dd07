"""A right wrapper: swaps the case of letters on the way in and out. Reversible, and that is all."""

from __future__ import annotations

import io
import string
from collections.abc import Mapping
from typing import Any, Final

from modules import StorageModule
from modules.context import Context, get_module
from modules.streams import ReadStream, SupportsRead

_SWAPPED: Final = bytes.maketrans(
    string.ascii_letters.encode(), string.ascii_letters.swapcase().encode()
)


class _Swapping:
    def __init__(self, stream: SupportsRead) -> None:
        self._stream = stream

    def read(self, size: int, /) -> bytes:
        return self._stream.read(size).translate(_SWAPPED)


class _SwappedStream(io.RawIOBase):
    """No fileno(): the file behind it holds other bytes."""

    def __init__(self, inner: ReadStream) -> None:
        self._inner = inner

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        block = self._inner.read(len(buffer)).translate(_SWAPPED)
        buffer[: len(block)] = block
        return len(block)

    def seek(self, offset: int, whence: int = 0, /) -> int:
        return self._inner.seek(offset, whence)

    def tell(self) -> int:
        return self._inner.tell()

    def close(self) -> None:
        self._inner.close()
        super().close()


class SwappingStorage(StorageModule):
    """Stores through the configured module *inner*."""

    def __init__(self, inner: str) -> None:
        self._name = inner

    def available(self, context: Context, module_data: str) -> bool:
        return self._inner(context).available(context, module_data)

    def put(self, context: Context, stream: SupportsRead) -> str:
        return self._inner(context).put(context, _Swapping(stream))

    def get_read_stream(self, context: Context, module_data: str) -> ReadStream:
        inner = self._inner(context).get_read_stream(context, module_data)
        swapped: Any = _SwappedStream(inner)  # RawIOBase.read is typed to return None, too
        stream: ReadStream = swapped
        return stream

    def delete(self, context: Context, module_data: str) -> None:
        self._inner(context).delete(context, module_data)

    def statistics(self, context: Context) -> dict[str, Any]:
        return self._inner(context).statistics(context)

    def capabilities(self, context: Context) -> Mapping[str, Any]:
        return self._inner(context).capabilities(context)

    def _inner(self, context: Context) -> StorageModule:
        return get_module(context, self._name)
