"""Quotas of directory volumes: a counter of stored bytes, shared by all processes.

Directories have no quota of their own, so a put reserves its bytes in ``.zfsstore/usage``
before it writes them and gives back what it did not need; a delete gives back the object's.
Volumes without a quota have no counter.

Limits: what counts is the size of the objects, not of databases, directories or quarantined
files. The counter is not flushed, so after a kill -9 or a power cut it may be off by the puts
in flight, or by the last seconds; a sweep counts again when nothing is being written.
"""

from __future__ import annotations

import fcntl
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final, Self

from modules.errors import QuotaExceeded
from zfsstore import layout

_FORMAT: Final = struct.Struct("<qq")  # bytes used, number of changes


class UsageCounter:
    """The counter of one volume with a quota.

    Args:
        path: of the volume.
        limit_bytes: its quota.
        subject: its name, for messages.
    """

    def __init__(self, path: str, limit_bytes: int, *, subject: str) -> None:
        self._volume = path
        self.limit_bytes = limit_bytes
        self._subject = subject

    def used_bytes(self) -> int:
        """Return how many bytes are stored or reserved."""
        with self._locked() as fd:
            return self._load(fd)[0]

    def add(self, size_bytes: int) -> None:
        """Reserve *size_bytes*, or give them back when negative.

        Raises:
            QuotaExceeded: the quota has not that much left; nothing was reserved.
        """
        with self._locked() as fd:
            used, changes = self._load(fd)
            if size_bytes > 0 and used + size_bytes > self.limit_bytes:
                raise QuotaExceeded(
                    f"{size_bytes} bytes do not fit: {used} of {self.limit_bytes} are in use",
                    limit_bytes=self.limit_bytes,
                    used_bytes=used,
                    operation="put object into",
                    subject=self._subject,
                    hint="delete objects or raise the quota",
                )
            _save(fd, max(0, used + size_bytes), changes + 1)

    def recount(self) -> bool:
        """Set the counter to what is stored, unless something is being written; tell whether."""
        with self._locked() as fd:
            before = self._load(fd)
        used, is_quiet = stored_bytes(self._volume)
        if not is_quiet:
            return False
        with self._locked() as fd:
            if self._load(fd) != before:
                return False
            _save(fd, used, before[1] + 1)
        return True

    def reset(self) -> None:
        """Set the counter to what is stored, also while something is being written."""
        used, _is_quiet = stored_bytes(self._volume)
        with self._locked() as fd:
            _used, changes = self._load(fd)
            _save(fd, used, changes + 1)

    @contextmanager
    def _locked(self) -> Iterator[int]:
        """Open and lock the counter's file: for microseconds, never around a put's I/O."""
        fd = os.open(f"{self._volume}/{layout.USAGE}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield fd
        finally:
            os.close(fd)

    def _load(self, fd: int) -> tuple[int, int]:
        content = os.pread(fd, _FORMAT.size, 0)
        if len(content) == _FORMAT.size:
            used, changes = _FORMAT.unpack(content)
            return int(used), int(changes)
        used, _is_quiet = stored_bytes(self._volume)
        _save(fd, used, 0)
        return used, 0


class Reservation:
    """The bytes of one put, taken from the quotas of its bucket and tenant.

    Used in ``with``: what was reserved is given back when the put fails.
    """

    def __init__(self, counters: tuple[UsageCounter, ...]) -> None:
        self._counters = counters
        self._reserved_bytes = 0

    def grow(self, size_bytes: int) -> None:
        """Make the reservation at least *size_bytes*.

        Raises:
            QuotaExceeded: one of the quotas has not that much left.
        """
        missing = size_bytes - self._reserved_bytes
        if missing <= 0:
            return
        for index, counter in enumerate(self._counters):
            try:
                counter.add(missing)
            except BaseException:
                for taken in self._counters[:index]:
                    taken.add(-missing)
                raise
        self._reserved_bytes += missing

    def __enter__(self) -> Self:
        return self

    def __exit__(self, exc_type: type[BaseException] | None, *_: object) -> None:
        if exc_type is not None and self._reserved_bytes:
            release(self._counters, self._reserved_bytes)


def release(counters: tuple[UsageCounter, ...], size_bytes: int) -> None:
    """Give *size_bytes* back to each of *counters*."""
    for counter in counters:
        with suppress(OSError):  # counted again by the next sweep
            counter.add(-size_bytes)


def stored_bytes(volume: str) -> tuple[int, bool]:
    """Return the size of all objects of a volume and its buckets, and whether none is in flight."""
    total = 0
    is_quiet = True
    for directory in _object_directories(volume):
        for entry in _scan(directory):
            if layout.is_temporary(entry.name):
                is_quiet = False
            with suppress(FileNotFoundError):
                total += entry.stat(follow_symlinks=False).st_size
    return total, is_quiet


def _object_directories(volume: str) -> Iterator[str]:
    volumes = [volume]
    volumes += [e.path for e in _scan(volume) if e.is_dir(follow_symlinks=False)]
    for path in volumes:
        for instance in _scan(f"{path}/{layout.OBJECTS}"):
            for leaf in _scan(instance.path):
                yield leaf.path


def _scan(path: str) -> Iterator[os.DirEntry[str]]:
    with suppress(FileNotFoundError, NotADirectoryError), os.scandir(path) as entries:
        yield from entries


def _save(fd: int, used_bytes: int, changes: int) -> None:
    os.pwrite(fd, _FORMAT.pack(used_bytes, changes), 0)
