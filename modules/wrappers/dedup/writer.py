"""One put: cut, look up, pack, record; in the order that section D1 of docs/formats.md proves."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Callable
from typing import Final

import zstandard
from blake3 import blake3

from modules.errors import StorageError
from modules.streams import SupportsRead
from modules.wrappers.dedup.chunker import cut
from modules.wrappers.dedup.domain import ID_BYTES, UID_BYTES, Domain
from modules.wrappers.dedup.format import DATA, RECIPE, ModuleData, encode
from modules.wrappers.dedup.index import LEASE_S, Index
from modules.wrappers.dedup.packs import Pack, Packer, Store
from modules.wrappers.dedup.recipe import RecipeBuilder, parse_node

_BATCH_CHUNKS: Final = 64
_BATCH_BYTES: Final = 1024 * 1024


class Put:
    """One object on its way in.

    Args:
        store: stores a pack.
        check: raises when the volume is to be let go.
    """

    def __init__(
        self,
        index: Index,
        domain: Domain,
        packer: Packer,
        store: Store,
        check: Callable[[], None],
    ) -> None:
        self._index = index
        self._domain = domain
        self._packer = packer
        self._store = store
        self._check = check
        self._node_key = domain.node_key
        self._compressor = zstandard.ZstdCompressor(level=1) if domain.is_compressed else None
        self._needed: set[Pack] = set()
        self._batch: list[tuple[bytes, memoryview]] = []
        self._batch_bytes = 0
        self._recipe = RecipeBuilder(self._add_node)
        self._session = b""
        self._renew_at = 0.0

    def run(self, stream: SupportsRead, expected_bytes: int | None) -> str:
        """Store *stream* and return its module_data; durable on return.

        Raises:
            Busy: the put took too long, or the volume is to be let go: send it again.
            StorageError: nothing was recorded.
        """
        self._session = self._index.begin()
        self._renew_at = self._index.clock() + LEASE_S / 3
        try:
            root = self._store_content(stream, expected_bytes)
            self._packer.wait(self._needed, self._store)
            self._check()
            uid = secrets.token_bytes(UID_BYTES)
            length = self._recipe.length
            self._index.commit_object(self._session, uid, root, length)
        except BaseException:
            self._packer.abandon(self._needed)
            with contextlib.suppress(StorageError):  # else its lease runs out
                self._index.end(self._session)
            raise
        return str(ModuleData.make(self._domain, uid, root, length))

    def _store_content(self, stream: SupportsRead, expected_bytes: int | None) -> bytes:
        self._packer.enter()
        try:
            key = self._domain.id_key
            for chunk in cut(stream, self._domain, expected_bytes=expected_bytes):
                self._batch.append((blake3(chunk, key=key).digest(), chunk))
                self._batch_bytes += len(chunk)
                if self._batch_bytes >= _BATCH_BYTES or len(self._batch) >= _BATCH_CHUNKS:
                    self._flush_batch()
            self._flush_batch()
            return self._recipe.finish()
        finally:
            self._packer.leave()

    def _flush_batch(self) -> None:
        self._check()
        if self._index.clock() >= self._renew_at:
            self._index.renew(self._session)
            self._renew_at = self._index.clock() + LEASE_S / 3
        batch, self._batch, self._batch_bytes = self._batch, [], 0
        stored = self._index.claim(list({id_ for id_, _ in batch}))
        for id_, chunk in batch:
            if id_ not in stored:
                self._add(DATA, id_, chunk)
            self._recipe.add(id_, len(chunk))

    def _add_node(self, content: bytes) -> bytes:
        id_ = blake3(content, key=self._node_key).digest(ID_BYTES)
        if not self._index.claim([id_]):
            children = parse_node(content, subject="its own recipe").children
            self._add(RECIPE, id_, content, children)
        return id_

    def _add(
        self,
        kind: int,
        id_: bytes,
        plain: bytes | memoryview,
        children: frozenset[bytes] | None = None,
    ) -> None:
        if self._packer.join(id_, self._needed):
            return
        encoded = encode(plain, self._compressor)
        full = self._packer.add(kind, id_, encoded, len(plain), self._needed, children)
        if full is not None:
            self._packer.flush(full, self._store)
