"""From a stream to a snapshot's tree, aside from any volume; what comes in is hostile."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from urllib.parse import quote

from modules.durable import fsync_directory, make_directories
from modules.errors import NoSpace
from zfsstore import layout
from zfsstore.volumes import directory_trees
from zfsstore.volumes.directory_stream import (
    BLOCK_BYTES,
    OBJECT,
    REMOVED,
    Header,
    InStream,
    broken,
)

_REMOVED_FILE = "removed"


class Incoming:
    """Unpacks a stream into a new directory; nothing counts until ``receive`` has returned.

    Args:
        stream: its header was read.
        path: the new directory; becomes laid out like a volume.
        on_progress: called now and then with the bytes so far.
    """

    def __init__(
        self,
        stream: InStream,
        header: Header,
        path: str,
        on_progress: Callable[[int], None] | None,
    ) -> None:
        self._stream = stream
        self._header = header
        self._path = path
        self._objects = f"{path}/{layout.OBJECTS}"
        self._on_progress = on_progress

    def receive(self) -> None:
        """Read all of the stream, into durable files.

        Raises:
            InvalidStream: it is damaged, or not what its header says.
            NoSpace: what it declares does not fit.
        """
        self._require_room()
        for directory in (layout.STATE, layout.OBJECTS):
            make_directories(f"{self._path}/{directory}", mode=0o700)
        for name, size in self._header.databases.items():
            self._member(f"state/{name}", size)
            self._write(f"{self._path}/{layout.STATE}/{name}", 0o600)
        if self._header.base is not None:
            name, size = self._stream.next_member()
            if name != REMOVED or size > self._header.removed * 100:
                raise broken("it does not tell what was removed")
            self._write(f"{self._path}/{_REMOVED_FILE}", 0o600)
        self._receive_objects()
        self._stream.finish()
        self._check_databases()
        fsync_directory(f"{self._path}/{layout.STATE}")

    def add_base(self, base: str) -> None:
        """Link to the objects that came those of the base that were not removed.

        Args:
            base: the directory of the snapshot that the stream builds on.

        Raises:
            InvalidStream: what came and what was removed do not fit the base.
        """
        came = f"{self._path}/came"
        os.rename(self._objects, came)
        os.mkdir(self._objects, 0o700)
        directory_trees.link_objects(base, self._path)
        count = 0
        for instance, name in self._removed():
            count += 1
            try:
                os.unlink(f"{self._objects}/{instance}/{name[:2]}/{name}")
            except FileNotFoundError:
                raise broken("it removes what its base has not") from None
        if count != self._header.removed:
            raise broken("it removes more or less than it says")
        for path, _directories, names in os.walk(came):
            into = f"{self._objects}{path.removeprefix(came)}"
            os.makedirs(into, mode=0o755, exist_ok=True)
            for name in names:
                if os.path.lexists(f"{into}/{name}"):
                    raise broken("it holds what its base has already")
                os.rename(f"{path}/{name}", f"{into}/{name}")
        for path, _directories, _names in os.walk(self._objects):
            fsync_directory(path)
        shutil.rmtree(came)
        os.unlink(f"{self._path}/{_REMOVED_FILE}")

    def _require_room(self) -> None:
        header = self._header
        declared = header.object_bytes + sum(header.databases.values())
        free = shutil.disk_usage(os.path.dirname(self._path)).free
        if declared > free:
            raise NoSpace(
                f"its {declared} bytes do not fit: {free} are left",
                operation="receive stream",
                hint="free space in the file system",
            )

    def _member(self, expected: str, size_bytes: int) -> None:
        if self._stream.next_member() != (expected, size_bytes):
            raise broken(f"{expected} is missing, or of another size than declared")

    def _receive_objects(self) -> None:
        left, last = self._header.object_bytes, ("", "")
        for _ in range(self._header.objects):
            name, size = self._stream.next_member()
            match = OBJECT.fullmatch(name)
            if match is None or (match[1], match[3]) <= last:
                raise broken(f"{name[:100]!r} is no object, or out of order")
            if size > left:
                raise broken("its objects are larger than its header says")
            last, left = (match[1], match[3]), left - size
            leaf = f"{self._objects}/{match[1]}/{match[2]}"
            os.makedirs(leaf, mode=0o755, exist_ok=True)
            self._write(f"{leaf}/{match[3]}", 0o444)
        if left:
            raise broken("its objects are smaller than its header says")
        for path, _directories, _names in os.walk(self._objects):
            fsync_directory(path)

    def _write(self, path: str, mode: int) -> None:
        fd = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, mode)
        with open(fd, "wb") as file:
            for block in self._stream.content():
                file.write(block)
            file.flush()
            os.fsync(fd)
        if self._on_progress is not None:
            self._on_progress(self._stream.total_bytes)

    def _removed(self) -> Iterator[tuple[str, str]]:
        with open(f"{self._path}/{_REMOVED_FILE}", "rb") as file:
            while line := file.readline(BLOCK_BYTES):
                match = OBJECT.fullmatch(line.decode("ascii", "replace").removesuffix("\n"))
                if match is None:
                    raise broken("it removes something that is no object")
                yield match[1], match[3]

    def _check_databases(self) -> None:
        for name in self._header.databases:
            path = f"{self._path}/{layout.STATE}/{name}"
            uri = f"file:{quote(path)}?immutable=1"
            try:
                with closing(sqlite3.connect(uri, uri=True)) as connection:
                    connection.execute("PRAGMA trusted_schema=OFF")
                    (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
            except sqlite3.Error as error:
                raise broken(f"its {name} is no database") from error
            if found != "ok":
                raise broken(f"its {name} is damaged: {found}")
