"""Modules whose streams are wrong; each class breaks the one rule it names."""

from __future__ import annotations

import io
import os
import threading
from typing import Any

from modules.context import Context, content_length
from modules.streams import SupportsRead
from simple.simple import SimpleStorage


class WithStream(SimpleStorage):
    """Returns its own kind of stream."""

    stream: type[io.FileIO] = io.FileIO

    def get_read_stream(self, context: Context, module_data: str) -> io.FileIO:
        super().get_read_stream(context, module_data).close()  # for its checks and errors
        return self.stream(self._path(module_data), "rb")


class ReadsOneBlock(WithStream):
    breaks = "read.read"

    class stream(io.FileIO):  # noqa: N801 - an attribute of the class around it
        def read(self, size: int | None = -1, /) -> Any:
            return super().read(65_536 if size is None or size < 0 else size)


class OffByOne(WithStream):
    breaks = "read.ranges"

    class stream(io.FileIO):  # noqa: N801
        skipped = 0

        def seek(self, offset: int, whence: int = 0, /) -> int:
            self.skipped = 1 if whence == 0 and offset == 4096 else 0
            return super().seek(offset + self.skipped, whence) - self.skipped


class ForgetsThePosition(WithStream):
    """seek(n, 1) counts from the start of its buffer."""

    breaks = "read.seek-current"

    class stream(io.FileIO):  # noqa: N801
        def seek(self, offset: int, whence: int = 0, /) -> int:
            if whence == 1 and offset > 0:
                return super().seek(self.tell() // 4096 * 4096 + offset)
            return super().seek(offset, whence)


class WrongSeekEnd(WithStream):
    """Takes seek(-n, 2) for n bytes before the last byte."""

    breaks = "read.seek-end"

    class stream(io.FileIO):  # noqa: N801
        def seek(self, offset: int, whence: int = 0, /) -> int:
            if whence == 2 and offset in (-1, -10):
                offset -= 1
            return super().seek(offset, whence)


class RefusesPastTheEnd(WithStream):
    breaks = "read.seek-past-end"

    class stream(io.FileIO):  # noqa: N801
        def seek(self, offset: int, whence: int = 0, /) -> int:
            if whence == 0 and offset > os.fstat(self.fileno()).st_size:
                raise ValueError("past the end")
            return super().seek(offset, whence)


class ClampsNegativePositions(WithStream):
    breaks = "read.seek-invalid"

    class stream(io.FileIO):  # noqa: N801
        def seek(self, offset: int, whence: int = 0, /) -> int:
            return super().seek(max(offset, 0) if whence == 0 else offset, whence)


class TellsWhatWasRead(WithStream):
    """tell() counts the bytes read and ignores seeks."""

    breaks = "read.tell"

    class stream(io.FileIO):  # noqa: N801
        count = 0

        def read(self, size: int | None = -1, /) -> Any:
            block = super().read(-1 if size is None else size)
            self.count += len(block)
            return block

        def seek(self, offset: int, whence: int = 0, /) -> int:
            return super().seek(offset, whence)

        def tell(self) -> int:
            super().tell()  # a ValueError after close
            return self.count


class ClosesOnce(WithStream):
    breaks = "read.close-twice"

    class stream(io.FileIO):  # noqa: N801
        ready = False

        def __init__(self, *args: Any) -> None:
            super().__init__(*args)
            self.ready = True

        def close(self) -> None:
            if self.ready and self.closed:
                raise ValueError("closed already")
            super().close()

        def __exit__(self, *args: object) -> None:
            super().close()

        def __del__(self) -> None:
            super().close()


class ReadsAfterClose(WithStream):
    """Keeps what it has buffered."""

    breaks = "read.after-close"

    class stream(io.FileIO):  # noqa: N801
        buffered = b""

        def read(self, size: int | None = -1, /) -> Any:
            if self.closed:
                return self.buffered[:size]
            block = super().read(-1 if size is None else size)
            self.buffered = block[:10]
            return block


class PlainObject:
    """A stream that was written for Python 2: no context manager."""

    def __init__(self, file: io.FileIO) -> None:
        self.read, self.seek, self.tell, self.close = file.read, file.seek, file.tell, file.close


class NoWithStatement(SimpleStorage):
    breaks = "read.with"

    def get_read_stream(self, context: Context, module_data: str) -> Any:
        return PlainObject(super().get_read_stream(context, module_data))


class SharesOneHandle(SimpleStorage):
    """Gives every reader of a thread a duplicate of one descriptor: they share its position."""

    breaks = "read.independent"

    def __init__(self, storage_dir: str) -> None:
        super().__init__(storage_dir)
        self.local = threading.local()

    def get_read_stream(self, context: Context, module_data: str) -> io.FileIO:
        stream = super().get_read_stream(context, module_data)
        last = getattr(self.local, "last", None)
        if last and last[0] == module_data and not last[1].closed:
            stream.close()
            stream = io.FileIO(os.dup(last[1].fileno()), "rb")
            stream.seek(0)
        self.local.last = (module_data, stream)
        return stream


class HeaderBehindFileno(SimpleStorage):
    """Puts a header before the bytes, hides it from readers, but not from sendfile."""

    breaks = "read.fileno"

    def put(self, context: Context, stream: SupportsRead) -> str:
        header = io.BytesIO(b"HEAD")

        class WithHeader:
            def read(self, size: int, /) -> bytes:
                return header.read(size) or stream.read(size)

        expected = content_length(context)
        if expected is not None:
            context = {**context, "content_length": expected + len(b"HEAD")}
        return super().put(context, WithHeader())

    def get_read_stream(self, context: Context, module_data: str) -> Any:
        return _AfterHeader(super().get_read_stream(context, module_data))


class _AfterHeader(io.RawIOBase):
    def __init__(self, file: io.FileIO) -> None:
        self.file = file
        file.seek(4)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        return self.file.readinto(buffer)

    def seek(self, offset: int, whence: int = 0, /) -> int:
        if whence == 0 and offset < 0:
            raise ValueError("negative")
        position = self.file.seek(offset + 4 if whence == 0 else offset, whence)
        if position < 4:
            raise ValueError("negative")
        return position - 4

    def tell(self) -> int:
        return self.file.tell() - 4

    def fileno(self) -> int:
        return self.file.fileno()

    def close(self) -> None:
        self.file.close()
        super().close()


class ReadsAllAtOnce(WithStream):
    breaks = "read.bounded-memory"

    class stream(io.FileIO):  # noqa: N801
        def read(self, size: int | None = -1, /) -> Any:
            position = self.tell()
            block = super().read(-1)
            block = block if size is None or size < 0 else block[:size]
            self.seek(position + len(block))
            return block
