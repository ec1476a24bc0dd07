"""An object on its way out: seekable, every chunk proven by its id."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Final, Self

import zstandard
from blake3 import blake3

from modules.errors import NotFound, ObjectNotFound
from modules.streams import ReadStream
from modules.wrappers.dedup.domain import Domain
from modules.wrappers.dedup.format import DATA, RECIPE, RUN, Blob, damaged, decode
from modules.wrappers.dedup.index import Place
from modules.wrappers.dedup.recipe import Node, parse_node
from modules.wrappers.inner_reader import InnerReader

READ_AHEAD_BYTES: Final = 512 * 1024
_WINDOW: Final = 256
_MAX_OPEN: Final = 2

Find = Callable[[list[bytes]], dict[bytes, Place]]
OpenPack = Callable[[str], ReadStream]


class BlobReader:
    """Reads chunks and recipe nodes from packs; keeps two packs open. For one thread at a time.

    Args:
        find: looks chunks up in the index.
        open_pack: opens a pack of the inner module.
        subject: for errors.
    """

    def __init__(self, domain: Domain, find: Find, open_pack: OpenPack, subject: str) -> None:
        self._keys = {DATA: domain.id_key, RECIPE: domain.node_key}
        self._find = find
        self._open_pack = open_pack
        self._subject = subject
        self._open: dict[str, InnerReader] = {}
        self._decompressor = zstandard.ZstdDecompressor()

    def find(self, ids: list[bytes]) -> dict[bytes, Place]:
        """Return where chunks are.

        Raises:
            IntegrityError: one is not there.
        """
        found = self._find(ids)
        if any(id_ not in found for id_ in ids):
            raise damaged("a chunk is not in the index", self._subject)
        return found

    def read(self, id_: bytes, place: Place | None = None) -> tuple[int, bytes | memoryview]:
        """Return kind and content of a chunk, proven by its id."""
        place = place or self.find([id_])[id_]
        try:
            payload = self.payload(place.pack, place.blob.offset, place.blob)
        except NotFound:
            place = self._moved(id_, place)
            payload = self.payload(place.pack, place.blob.offset, place.blob)
        return place.blob.kind, self.prove(payload, place.blob)

    def payload(self, pack: str, offset: int, blob: Blob) -> bytes:
        """Return the payload of a blob, as it is stored."""
        return b"" if blob.codec == RUN else self.read_at(pack, offset, blob.stored_bytes)

    def read_at(self, pack: str, offset: int, size: int) -> bytes:
        """Return bytes of a pack.

        Raises:
            NotFound: it is gone.
        """
        reader = self._open.pop(pack, None)
        if reader is None:
            stream = self._open_pack(pack)
            reader = InnerReader(
                stream, operation="read deduplicated object", subject=self._subject
            )
            while len(self._open) >= _MAX_OPEN:
                self._open.pop(next(iter(self._open))).close()
        self._open[pack] = reader
        return reader.read_at(offset, size)

    def prove(self, payload: bytes | memoryview, blob: Blob) -> bytes | memoryview:
        """Return the content of a blob.

        Raises:
            IntegrityError: it is not what the id says.
        """
        plain = decode(payload, blob, self._decompressor, self._subject)
        key = self._keys.get(blob.kind)
        if key is None or blake3(plain, key=key).digest() != blob.id:
            raise damaged("a chunk is not what its id says", self._subject)
        return plain

    def node(self, id_: bytes) -> Node:
        """Return a recipe node."""
        kind, content = self.read(id_)
        if kind != RECIPE:
            raise damaged("a chunk stands where a recipe node must", self._subject)
        return parse_node(bytes(content), subject=self._subject)

    def close(self) -> None:
        """Close all packs; again is silent."""
        while self._open:
            self._open.popitem()[1].close()

    def _moved(self, id_: bytes, place: Place) -> Place:
        """Look again, once, for a chunk whose pack is gone: it was compacted meanwhile."""
        found = self._find([id_]).get(id_)
        if found is None:
            raise ObjectNotFound(
                "it was deleted while it was read",
                operation="read deduplicated object",
                subject=self._subject,
            )
        if found.pack == place.pack:
            raise damaged("a pack is missing", self._subject)
        return found


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
        self._window: tuple[int, int, dict[bytes, Place]] | None = None
        self._run: _Run | None = None
        self._chunk: tuple[int, bytes | memoryview] = (0, b"")  # where it begins
        self._read_end = -1
        if kind == DATA:
            _, content = blobs.read(root)
            self._chunk = (0, content)
            self._require_length(len(content))
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
            part = self._part(missing, max(ahead, min(missing, READ_AHEAD_BYTES)))
            self._position += len(part)
            missing -= len(part)
            parts.append(part)
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
            self._run = None
            self._chunk = (0, b"")
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

    def _part(self, wanted: int, ahead: int) -> bytes | memoryview:
        """Return 1 to *wanted* bytes from the position, which is inside the object."""
        start, content = self._chunk
        if not start <= self._position < start + len(content):
            start, content = self._chunk = self._load(ahead)
        offset = self._position - start
        if not offset and len(content) <= wanted:
            return content
        return memoryview(content)[offset : offset + wanted]

    def _load(self, ahead: int) -> tuple[int, bytes | memoryview]:
        """Return the chunk at the position, and where it begins."""
        leaf, leaf_start = self._leaf()
        number = leaf.find(self._position - leaf_start)
        content = self._content(leaf, leaf_start, number, ahead)
        if len(content) != leaf.length_of(number):
            raise damaged("a chunk has another length than its recipe says", self._subject)
        return leaf_start + leaf.starts[number], content

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

    def _content(self, leaf: Node, leaf_start: int, number: int, ahead: int) -> bytes | memoryview:
        places = self._places(leaf, leaf_start, number)
        place = places[leaf.ids[number]]
        if place.blob.kind != DATA:
            raise damaged("a recipe node stands where a chunk must", self._subject)
        run = self._run
        payload = None if run is None else run.find(place)
        if payload is None:
            size = _run_bytes(leaf, number, places, ahead)
            if size > place.blob.stored_bytes and place.blob.codec != RUN:
                try:
                    data = self._blobs.read_at(place.pack, place.blob.offset, size)
                except NotFound:  # compacted meanwhile; the chunk is looked up again below
                    self._window = None
                else:
                    self._run = run = _Run(place.pack, place.blob.offset, memoryview(data))
                    payload = run.find(place)
        if payload is None:
            return self._blobs.read(leaf.ids[number], place)[1]
        return self._blobs.prove(payload, place.blob)

    def _places(self, leaf: Node, leaf_start: int, number: int) -> dict[bytes, Place]:
        """Return where the chunk is, looked up together with those that follow."""
        if self._window is not None:
            start, end, places = self._window
            if start == leaf_start and leaf.ids[number] in places and number < end:
                return places
        ids = list(dict.fromkeys(leaf.ids[number : number + _WINDOW]))
        places = self._blobs.find(ids)
        self._window = (leaf_start, number + _WINDOW, places)
        return places

    def _require_length(self, found: int) -> None:
        if found != self._length:
            raise damaged(f"it holds {found} bytes, but {self._length} were put", self._subject)

    def _require_open(self) -> None:
        if self._is_closed:
            raise ValueError("the stream is closed")


class _Run:
    """Payloads that lie one behind the other in a pack, read at once."""

    __slots__ = ("_data", "_offset", "_pack")

    def __init__(self, pack: str, offset: int, data: memoryview) -> None:
        self._pack = pack
        self._offset = offset
        self._data = data

    def find(self, place: Place) -> memoryview | None:
        """Return the payload of a blob, None when it is not in here."""
        blob = place.blob
        start = blob.offset - self._offset
        if place.pack != self._pack or blob.codec == RUN or start < 0:
            return None
        if start + blob.stored_bytes > len(self._data):
            return None
        return self._data[start : start + blob.stored_bytes]


def _run_bytes(leaf: Node, number: int, places: dict[bytes, Place], ahead: int) -> int:
    """Return how many bytes hold the chunk and those that follow it in leaf and pack alike."""
    first = places[leaf.ids[number]]
    size = first.blob.stored_bytes
    plain = leaf.length_of(number)
    for id_ in leaf.ids[number + 1 :]:
        place = places.get(id_)
        if plain >= ahead or place is None or place.pack != first.pack:
            break
        blob = place.blob
        if blob.codec == RUN:
            continue
        if blob.offset != first.blob.offset + size:
            break
        size += blob.stored_bytes
        plain += blob.plain_bytes
    return size
