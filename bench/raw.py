"""The fastest correct recipes in nothing but ``os.*``: what everything else is measured against.

Each puts an object that is wholly there or not there at all, and on stable storage (file and
directory entry) when put returns. They do no more than that: no names from a random source, no
checks, no quota, no errors translated; directories are open already.
"""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from bench.data import BLOCK_BYTES, Source

LEAVES: Final = 16
_WRITE: Final = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC


def _write_all(fd: int, source: Source) -> None:
    while block := source.read(BLOCK_BYTES):
        if os.write(fd, block) != len(block):
            raise OSError("short write")


class Leaves:
    """Directories that stay open, so that a recipe names files relative to them."""

    def __init__(self, root: Path, count: int = LEAVES) -> None:
        self.fds: list[int] = []
        for number in range(count):
            leaf = root / f"{number:02x}"
            leaf.mkdir(parents=True, exist_ok=True)
            self.fds.append(os.open(leaf, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
        self._numbers = itertools.count(time.time_ns())

    def new_name(self) -> tuple[int, str]:
        """Return an open directory and a name that is new in it."""
        number = next(self._numbers)
        return self.fds[number % len(self.fds)], f"{number:032x}"

    def close(self) -> None:
        for fd in self.fds:
            os.close(fd)


Handle = tuple[int, str]


def put_by_rename(leaves: Leaves, source: Source) -> Handle:
    """Exclusive temporary file, fsync, rename, fsync of the directory."""
    directory, name = leaves.new_name()
    temporary = f".tmp-{name}"
    fd = os.open(temporary, _WRITE, 0o444, dir_fd=directory)
    try:
        _write_all(fd, source)
        os.fsync(fd)
    finally:
        os.close(fd)
    os.rename(temporary, name, src_dir_fd=directory, dst_dir_fd=directory)
    os.fsync(directory)
    return directory, name


def put_by_early_rename(leaves: Leaves, source: Source) -> Handle:
    """Exclusive temporary file, rename, fsync, fsync of the directory.

    Correct only because nobody knows the name before put returns it.
    """
    directory, name = leaves.new_name()
    temporary = f".tmp-{name}"
    fd = os.open(temporary, _WRITE, 0o444, dir_fd=directory)
    try:
        _write_all(fd, source)
        os.rename(temporary, name, src_dir_fd=directory, dst_dir_fd=directory)
        os.fsync(fd)
    finally:
        os.close(fd)
    os.fsync(directory)
    return directory, name


def put_by_link(leaves: Leaves, source: Source) -> Handle:
    """O_TMPFILE, fsync, linkat, fsync of the directory."""
    directory, name = leaves.new_name()
    fd = os.open(".", os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, 0o444, dir_fd=directory)
    try:
        _write_all(fd, source)
        os.fsync(fd)
        os.link(
            f"/proc/self/fd/{fd}",
            name,
            src_dir_fd=directory,
            dst_dir_fd=directory,
            follow_symlinks=True,
        )
    finally:
        os.close(fd)
    os.fsync(directory)
    return directory, name


def put_exclusively(leaves: Leaves, source: Source) -> Handle:
    """Exclusive file under its final name, fdatasync, fsync of the directory.

    Correct only because nobody knows the name before put returns it.
    """
    directory, name = leaves.new_name()
    fd = os.open(name, _WRITE, 0o444, dir_fd=directory)
    try:
        _write_all(fd, source)
        os.fdatasync(fd)
    finally:
        os.close(fd)
    os.fsync(directory)
    return directory, name


def get_by_read(handle: Handle) -> int:
    """Open, read blocks to the end, close; return how many bytes there were."""
    directory, name = handle
    fd = os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=directory)
    try:
        total = 0
        while block := os.read(fd, BLOCK_BYTES):
            total += len(block)
        return total
    finally:
        os.close(fd)


class RawSubject:
    """One recipe as something that can be measured beside the modules."""

    is_raw = True

    def __init__(
        self,
        name: str,
        root: Path,
        recipe: Callable[[Leaves, Source], Handle],
        directories: int = LEAVES,
    ) -> None:
        self.name = name
        self._leaves = Leaves(root, directories)
        self._recipe = recipe

    def put(self, source: Source, size_bytes: int) -> Handle:
        return self._recipe(self._leaves, source)

    def get(self, handle: Handle) -> int:
        return get_by_read(handle)

    def read_back(self, handle: Handle) -> bytes:
        """Return an object's bytes, to be compared."""
        directory, name = handle
        with open(os.open(name, os.O_RDONLY, dir_fd=directory), "rb") as file:
            return file.read()

    def delete(self, handle: Handle) -> None:
        directory, name = handle
        os.unlink(name, dir_fd=directory)

    def close(self) -> None:
        self._leaves.close()


def raw_subjects(root: Path) -> Sequence[RawSubject]:
    """Return every recipe that this file system can do, each in a folder of its own."""
    recipes = (
        ("raw: temporary file, rename", put_by_rename, LEAVES),
        ("raw: early rename", put_by_early_rename, LEAVES),
        ("raw: O_TMPFILE, link", put_by_link, LEAVES),
        ("raw: exclusive, fdatasync", put_exclusively, LEAVES),
        ("raw: early rename, one directory", put_by_early_rename, 1),
    )
    subjects = []
    for number, (name, recipe, directories) in enumerate(recipes):
        subject = RawSubject(name, root / f"raw{number}", recipe, directories)
        try:
            subject.delete(subject.put(Source(b"x", 1), 1))
        except OSError:  # no O_TMPFILE here
            subject.close()
            continue
        subjects.append(subject)
    return subjects
