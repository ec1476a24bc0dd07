"""Rules about the stream that ``get_read_stream`` returns.

Source: the io.RawIOBase contract, docs.python.org, library/io.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from typing import Any, Final

from modules.conformance.payload import first_difference, pattern, read_exactly
from modules.conformance.put_rules import PutRules
from modules.conformance.rule import rule
from modules.streams import ReadStream

_SIZE: Final = 200_000
_DATA: Final = pattern("read", _SIZE)
_REFUSALS: Final = (ValueError, OSError)


class ReadRules(PutRules):
    """What must hold for every stream of an object."""

    def open(self) -> ReadStream:
        """Return a stream of an object that holds _DATA; the object is shared by these rules."""
        suite = type(self)
        if "read" not in suite.shared:
            suite.shared["read"] = self.put("read", _SIZE)
        return self.get(suite.shared["read"])

    @rule("read.read", "read gives what was asked for, the rest for -1, and b'' at the end")
    def test_read_read(self) -> None:
        stream = self.open()
        self.require(stream.read(0) == b"", "read(0) must return b''")
        self.require(read_exactly(stream, 10) == _DATA[:10], "read(10) gave other bytes")
        rest = stream.read(-1)
        self.require(isinstance(rest, bytes), f"read(-1) returned {type(rest).__name__}, not bytes")
        self.require(rest == _DATA[10:], f"read(-1): {first_difference(_DATA[10:], rest)}")
        for size in (1, -1):
            found = stream.read(size)
            self.require(found == b"", f"at the end read({size}) must return b'', not {found!r}")
        whole = self.open().read()
        self.require(whole == _DATA, f"read(): {first_difference(_DATA, whole)}")

    @rule("read.ranges", "after a seek, reads equal slices of the object")
    def test_read_ranges(self) -> None:
        stream = self.open()
        edges = (0, 1, 4095, 4096, 65_535, 65_536, 65_537, 131_072, _SIZE - 1, _SIZE)
        for start in (*edges, *reversed(edges)):
            for length in (1, 100, 70_000):
                stream.seek(start)
                found, expected = read_exactly(stream, length), _DATA[start : start + length]
                self.require(
                    found == expected,
                    f"seek({start}), read({length}): {first_difference(expected, found)}",
                )

    @rule("read.seek-current", "seek(n, 1) moves from the position, forwards and back")
    def test_read_seek_current(self) -> None:
        stream = self.open()
        read_exactly(stream, 1000)
        for offset, position in ((24, 1024), (-23, 1011), (0, 1021)):
            self._lands(stream, offset, 1, position)

    @rule("read.seek-end", "seek(n, 2) counts from the end of the object")
    def test_read_seek_end(self) -> None:
        stream = self.open()
        for offset in (-1, -10, -_SIZE, 0):
            self._lands(stream, offset, 2, _SIZE + offset)

    def _lands(self, stream: ReadStream, offset: int, whence: int, position: int) -> None:
        found = stream.seek(offset, whence)
        call = f"seek({offset}, {whence})"
        self.require(found == position, f"{call} must return {position}, not {found!r}")
        expected, data = _DATA[position : position + 10], read_exactly(stream, 10)
        self.require(data == expected, f"after {call}, read(10) gave {data!r}, not {expected!r}")

    @rule("read.seek-past-end", "a seek past the end is allowed; a read there gives b''")
    def test_read_seek_past_end(self) -> None:
        stream = self.open()
        for offset in (_SIZE + 1, _SIZE + 10_000_000):
            try:
                stream.seek(offset)
            except _REFUSALS as error:
                self.broken(f"seek({offset}) in an object of {_SIZE} bytes must be allowed", error)
            found = stream.read(10)
            self.require(found == b"", f"read(10) past the end must return b'', not {found[:10]!r}")

    @rule("read.seek-invalid", "a negative position or an unknown whence is refused")
    def test_read_seek_invalid(self) -> None:
        for offset, whence in ((-1, 0), (-_SIZE - 1, 2), (-1, 1), (0, 99)):
            stream = self.open()
            try:
                found = stream.seek(offset, whence)
            except _REFUSALS:
                continue
            self.require(
                False,
                f"seek({offset}, {whence}) must raise ValueError or OSError; it returned {found!r}",
            )

    @rule("read.tell", "tell gives the position after reads and seeks")
    def test_read_tell(self) -> None:
        stream = self.open()
        self._tells(stream, 0, "at first")
        read_exactly(stream, 10)
        self._tells(stream, 10, "after read(10)")
        stream.seek(70_000)
        self._tells(stream, 70_000, "after seek(70000)")
        read_exactly(stream, _SIZE)
        self._tells(stream, _SIZE, "at the end")

    def _tells(self, stream: ReadStream, position: int, when: str) -> None:
        found = stream.tell()
        self.require(found == position, f"tell() {when} must return {position}, not {found!r}")

    @rule("read.close-twice", "close may be called twice")
    def test_read_close_twice(self) -> None:
        stream = self.open()
        stream.close()
        try:
            stream.close()
        except Exception as error:
            self.broken("the second close() must do nothing", error)

    @rule("read.after-close", "after close every call is a ValueError")
    def test_read_after_close(self) -> None:
        stream = self.open()
        stream.read(10)
        stream.close()
        calls: dict[str, Callable[[], object]] = {
            "read(1)": lambda: stream.read(1),
            "seek(0)": lambda: stream.seek(0),
            "tell()": lambda: stream.tell(),
        }
        for name, call in calls.items():
            try:
                found: object = call()
            except ValueError:
                continue
            except Exception as error:
                self.broken(f"after close, {name} must raise ValueError", error)
            self.require(False, f"after close, {name} must raise ValueError; it gave {found!r:.40}")

    @rule("read.with", "a stream works in a with statement, which closes it")
    def test_read_with(self) -> None:
        stream: Any = self.open()
        for method in ("__enter__", "__exit__"):
            self.require(
                hasattr(type(stream), method),
                f"the stream has no {method}: derive from io.RawIOBase",
            )
        with stream as entered:
            found = read_exactly(entered, 10)
        self.require(found == _DATA[:10], "the stream of the with statement gave other bytes")
        try:
            stream.tell()
        except ValueError:
            return
        self.require(False, "the stream is still open after its with statement")

    @rule("read.independent", "two streams of one object do not move each other")
    def test_read_independent(self) -> None:
        first, second = self.open(), self.open()
        for start in range(0, 1000, 100):
            for name, stream in (("first", first), ("second", second)):
                found = read_exactly(stream, 100)
                self.require(
                    found == _DATA[start : start + 100],
                    f"the {name} of two streams lost its place at byte {start}",
                )
        first.close()
        self.require(
            read_exactly(second, 10) == _DATA[1000:1010], "closing one stream hurt the other"
        )

    @rule("read.fileno", "a stream that offers fileno() gives a file that holds the object")
    def test_read_fileno(self) -> None:
        stream: Any = self.open()
        try:
            fd = stream.fileno()
        except (AttributeError, OSError):
            self.skipTest("its streams have no fileno(), so a host copies the bytes itself")
        self.require(
            stat.S_ISREG(os.fstat(fd).st_mode), "fileno() must be a regular file, for sendfile"
        )
        found = os.pread(fd, _SIZE + 1, 0)
        self.require(
            found == _DATA,
            f"the file behind fileno(): {first_difference(_DATA, found)}; a host would send it as "
            "it is",
        )

    @rule("read.bounded-memory", "reading does not hold a large object in memory")
    def test_read_bounded_memory(self) -> None:
        large = self.large_object()
        self.require(
            large.get_peak_bytes <= self.scale.memory_bytes,
            f"reading {large.size} bytes in blocks of 1 MiB allocated {large.get_peak_bytes} bytes "
            f"at once (limit {self.scale.memory_bytes}): read on demand",
        )
