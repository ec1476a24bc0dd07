"""Recipes: which chunks an object is made of, as a tree whose nodes are deduplicated themselves.

A node is its level in one byte and its entries: id and length, of chunks at level 0 (36 bytes an
entry), of nodes of the level below above that (40 bytes). Where a node ends depends on the ids in
it, so a change in an object changes few nodes. An object of one chunk has no node: that chunk is
its root.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from itertools import accumulate
from typing import Final

from modules.wrappers.dedup.format import damaged

MIN_ENTRIES: Final = 256
MAX_ENTRIES: Final = 4096
MAX_LEVEL: Final = 8
_LEAF: Final = struct.Struct(">32sI")
_INNER: Final = struct.Struct(">32sQ")

Entry = tuple[bytes, int]
"""An id, and how many bytes of the object are below it."""


@dataclass(frozen=True, slots=True)
class Node:
    """A decoded recipe node.

    Attributes:
        ids: of its entries.
        starts: where each begins, from the node's start, and at last the node's length.
    """

    level: int
    ids: tuple[bytes, ...]
    starts: tuple[int, ...]

    @property
    def length(self) -> int:
        """How many bytes of the object are below it."""
        return self.starts[-1]

    def find(self, position: int) -> int:
        """Return the entry that holds the byte at *position*, which is below the length."""
        return bisect_right(self.starts, position) - 1

    def length_of(self, number: int) -> int:
        """Return the length of an entry."""
        return self.starts[number + 1] - self.starts[number]

    @property
    def children(self) -> frozenset[bytes]:
        """What the node refers to; each counts once."""
        return frozenset(self.ids)


def format_node(level: int, entries: list[Entry]) -> bytes:
    """Return a node's content."""
    form = _INNER if level else _LEAF
    return bytes((level,)) + b"".join(form.pack(id_, length) for id_, length in entries)


def parse_node(data: bytes, *, subject: str) -> Node:
    """Return the node in *data*.

    Raises:
        IntegrityError: it is none.
    """
    level = data[0] if data else MAX_LEVEL
    form = _INNER if level else _LEAF
    if level >= MAX_LEVEL or (len(data) - 1) % form.size or len(data) == 1:
        raise damaged("a recipe node is damaged", subject)
    entries = list(form.iter_unpack(memoryview(data)[1:]))
    if any(not length for _, length in entries):
        raise damaged("a recipe node has an empty entry", subject)
    ids = tuple(id_ for id_, _ in entries)
    return Node(level, ids, tuple(accumulate((length for _, length in entries), initial=0)))


class RecipeBuilder:
    """Takes chunks in order, gives nodes as they are complete; holds one open node of each level.

    Args:
        add_node: stores a node's content and returns its id.
    """

    def __init__(self, add_node: Callable[[bytes], bytes]) -> None:
        self._add_node = add_node
        self._levels: list[list[Entry]] = [[]]
        self.length = 0

    def add(self, id_: bytes, length: int) -> None:
        """Append a chunk."""
        self.length += length
        self._append(0, (id_, length))

    def finish(self) -> bytes:
        """Return the id of the root: a node, or the only chunk."""
        level = 0
        while True:
            entries = self._levels[level]
            if level == len(self._levels) - 1 and len(entries) == 1:
                return entries[0][0]
            if entries:
                self._flush(level)
            level += 1

    def _append(self, level: int, entry: Entry) -> None:
        if level == len(self._levels):
            self._levels.append([])
        entries = self._levels[level]
        entries.append(entry)
        count = len(entries)
        if count >= MAX_ENTRIES or (count >= MIN_ENTRIES and _is_end(entry[0])):
            self._flush(level)

    def _flush(self, level: int) -> None:
        entries, self._levels[level] = self._levels[level], []
        id_ = self._add_node(format_node(level, entries))
        self._append(level + 1, (id_, sum(length for _, length in entries)))


def _is_end(id_: bytes) -> bool:
    """Return whether the first 10 bits are 0: one id in 1,024."""
    return id_[0] == 0 and id_[1] < 64
