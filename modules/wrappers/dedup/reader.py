"""An object on its way out: seekable, every chunk proven by its id."""

from __future__ import annotations

from types import TracebackType
from typing import Final, Self

from modules.errors import NotFound
from modules.wrappers.dedup.blobs import BlobReader
from modules.wrappers.dedup.format import DATA, damaged
from modules.wrappers.dedup.recipe import Node
from modules.wrappers.dedup.windows import Run, Window

READ_AHEAD_BYTES: Final = 512 * 1024
_WINDOW: Final = 256


class DedupStream:
    """The content of one object; holds one node of each level and about 1 MiB.

    Args:
        root: kind of the root, DATA for an object of one chunk.
        length: of the object, in bytes.
    """

    def __init__(self, blobs: BlobReader, root: bytes, kind: int, length: int, subject: str):
        self._blobs = blobs
        self._length = length
        self._subject = subject
        self._position = 0
        self._is_closed = False
        self._path: list[tuple[Node, int]] = []  # nodes from the root, and where each begins
        self._window: Window | None = None
        self._number = -1  # of the chunk, in its leaf
        self._content: bytes | memoryview = b""  # of the chunk, which begins at _start
        self._start = self._size = 0
        self._read_end = -1
        if kind == DATA:
            _, content = blobs.read(root)
            self._content, self._size = content, len(content)
            self._require_length(self._size)
        else:
            node = blobs.node(root)
            self._path.append((node, 0))
            self._require_length(node.length)

    def read(self, size: int | None = -1, /) -> bytes:
        """Return *size* bytes, fewer only at the end, all that is left for -1.

        Raises:
            IntegrityError: what is stored is not what was put.
        """
        self._require_open()
        left = max(0, self._length - self._position)
        missing = left if size is None or size < 0 else min(size, left)
        ahead = READ_AHEAD_BYTES if self._position == self._read_end else 0
        parts: list[bytes | memoryview] = []
        while missing > 0:
            offset = self._position - self._start
            if not 0 <= offset < self._size:
                self._load(max(ahead, min(missing, READ_AHEAD_BYTES)))
                offset = self._position - self._start
            part, taken = self._content, self._size - offset
            if offset or taken > missing:
                taken = min(taken, missing)
                part = memoryview(part)[offset : offset + taken]
            parts.append(part)
            self._position += taken
            missing -= taken
        self._read_end = self._position
        return bytes(parts[0]) if len(parts) == 1 else b"".join(parts)

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """Move to *offset* from the start (0), the position (1) or the end (2); return it."""
        self._require_open()
        if whence == 1:
            offset += self._position
        elif whence == 2:
            offset += self._length
        elif whence != 0:
            raise ValueError(f"whence must be 0, 1 or 2, not {whence!r}")
        if offset < 0:
            raise ValueError(f"cannot seek to the negative position {offset}")
        self._position = offset
        return offset

    def tell(self) -> int:
        """Return the position in bytes."""
        self._require_open()
        return self._position

    def close(self) -> None:
        """Close the packs; again is silent."""
        if not self._is_closed:
            self._is_closed = True
            self._window = None
            self._content, self._size = b"", 0
            self._path.clear()
            self._blobs.close()

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    @property
    def closed(self) -> bool:
        """True after close."""
        return self._is_closed

    def __enter__(self) -> Self:
        self._require_open()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _load(self, ahead: int) -> None:
        """Take the chunk at the position."""
        leaf, leaf_start = self._path[-1]
        at = self._position - leaf_start
        if leaf.level or not 0 <= at < leaf.starts[-1]:
            leaf, leaf_start = self._leaf()
            at = self._position - leaf_start
        number = self._number + 1  # as a rule the next one
        starts = leaf.starts
        if number >= len(leaf.ids) or starts[number] != at:
            number = leaf.find(at)
        content = self._read_chunk(leaf, number, ahead)
        size = len(content)
        if size != starts[number + 1] - starts[number]:
            raise damaged("a chunk has another length than its recipe says", self._subject)
        self._start, self._size, self._content = leaf_start + starts[number], size, content
        self._number = number

    def _leaf(self) -> tuple[Node, int]:
        """Return the leaf that holds the position; reads the nodes above it that changed."""
        while len(self._path) > 1:
            node, start = self._path[-1]
            if start <= self._position < start + node.length:
                break
            self._path.pop()
        while True:
            node, start = self._path[-1]
            if node.level == 0:
                return node, start
            number = node.find(self._position - start)
            child = self._blobs.node(node.ids[number])
            if child.level != node.level - 1 or child.length != node.length_of(number):
                raise damaged("a recipe node is not the one that must be there", self._subject)
            self._path.append((child, start + node.starts[number]))

    def _read_chunk(self, leaf: Node, number: int, ahead: int) -> bytes | memoryview:
        """Return a chunk, out of what was read ahead, or reading ahead."""
        window = self._window
        if window is None or not window.first <= number < window.end or window.leaf is not leaf:
            window = self._window = self._look_up(leaf, number)
        place = window.places[number - window.first]
        if place.blob.kind != DATA:
            raise damaged("a recipe node stands where a chunk must", self._subject)
        payload: bytes | memoryview | None = window.run.find(place)
        if payload is None:
            try:
                payload = window.fetch(self._blobs, number, ahead)
            except NotFound:  # compacted meanwhile: look the chunk up again
                self._window = None
                return self._blobs.read(leaf.ids[number], place)[1]
        return self._blobs.prove(payload, place.blob)

    def _look_up(self, leaf: Node, number: int) -> Window:
        """Return where the chunk is, looked up together with those that follow."""
        run = Run() if self._window is None else self._window.run
        ids = leaf.ids[number : number + _WINDOW]
        found = self._blobs.find(list(dict.fromkeys(ids)))
        return Window(leaf, number, [found[id_] for id_ in ids], run)

    def _require_length(self, found: int) -> None:
        if found != self._length:
            raise damaged(f"it holds {found} bytes, but {self._length} were put", self._subject)

    def _require_open(self) -> None:
        if self._is_closed:
            raise ValueError("the stream is closed")
