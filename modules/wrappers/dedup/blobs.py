"""Chunks and recipe nodes out of packs, each proven by its id."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import zstandard
from blake3 import blake3

from modules.errors import NotFound, ObjectNotFound
from modules.streams import ReadStream
from modules.wrappers.dedup.domain import Domain
from modules.wrappers.dedup.format import DATA, RECIPE, RUN, Blob, damaged, decode
from modules.wrappers.dedup.index import Place
from modules.wrappers.dedup.recipe import Node, parse_node
from modules.wrappers.inner_reader import InnerReader

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
        self._domain = domain
        self._keys = {} if domain.is_locked else {DATA: domain.id_key, RECIPE: domain.node_key}
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
            assert self._domain.id_key
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
