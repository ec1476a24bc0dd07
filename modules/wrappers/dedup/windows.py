"""Reading ahead in packs: what follows one another in an object mostly does so in a pack."""

from __future__ import annotations

from typing import Final

from modules.wrappers.dedup.blobs import BlobReader
from modules.wrappers.dedup.format import RUN
from modules.wrappers.dedup.index import Place
from modules.wrappers.dedup.recipe import Node

ALIGNED_BYTES: Final = 65536
"""What is read ahead ends at a multiple of this: where segments of format E1 end, so that none is
decrypted twice."""


class Run:
    """A part of a pack that was read at once."""

    __slots__ = ("_data", "_end", "_pack", "_start")

    def __init__(self, pack: str = "", start: int = 0, data: bytes = b"") -> None:
        self._pack = pack
        self._start = start
        self._end = start + len(data)
        self._data = memoryview(data)

    @property
    def end(self) -> int:
        """The offset in the pack where it ends."""
        return self._end

    def find(self, place: Place) -> memoryview | None:
        """Return the payload of a chunk, None when it is not all in here."""
        blob, pack = place
        if blob.codec == RUN:
            return memoryview(b"")
        offset = blob.offset
        end = offset + blob.stored_bytes
        if self._start <= offset and end <= self._end and pack == self._pack:
            return self._data[offset - self._start : end - self._start]
        return None

    def head(self, place: Place) -> memoryview:
        """Return the part of a payload that is in here, when that is its beginning."""
        offset = place.blob.offset
        if place.pack == self._pack and self._start <= offset < self._end:
            return self._data[offset - self._start :]
        return memoryview(b"")


class Window:
    """Where chunks that follow one another in a leaf are, and what was read of their pack.

    Args:
        first: the number of the first of them in *leaf*.
    """

    __slots__ = ("end", "first", "leaf", "places", "run")

    def __init__(self, leaf: Node, first: int, places: list[Place], run: Run) -> None:
        self.leaf = leaf
        self.first = first
        self.places = places
        self.end = first + len(places)
        self.run = run

    def fetch(self, blobs: BlobReader, number: int, ahead: int) -> memoryview | bytes:
        """Return the payload of a chunk that is not in the run; go on with the run from there.

        Args:
            ahead: how many bytes of content to read at least, where they lie in one piece.

        Raises:
            NotFound: the pack is gone.
        """
        place = self.places[number - self.first]
        offset, end = place.blob.offset, place.blob.offset + place.blob.stored_bytes
        head = self.run.head(place)
        start = self.run.end if head else offset
        stop = self._stop(number, ahead)
        aligned = stop // ALIGNED_BYTES * ALIGNED_BYTES
        if end <= aligned < stop:
            stop = aligned
        data = blobs.read_at(place.pack, start, stop - start)
        self.run = Run(place.pack, start, data)
        if head:
            return b"".join((head, memoryview(data)[: end - start]))
        return memoryview(data)[: end - offset]

    def _stop(self, number: int, ahead: int) -> int:
        """Return where the last of the chunks ends that lie one behind the other."""
        places = iter(self.places[number - self.first :])
        first, pack = next(places)
        stop = first.offset + first.stored_bytes
        plain = first.plain_bytes
        for blob, other in places:
            if plain >= ahead or other != pack:
                break
            if blob.codec == RUN:
                continue
            if blob.offset != stop:
                break
            stop += blob.stored_bytes
            plain += blob.plain_bytes
        return stop
