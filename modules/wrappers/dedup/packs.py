"""Packs on their way in: chunks of all puts of a process gather in one, and go down together."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Final

from modules.errors import StorageError, SubstrateError
from modules.streams import SupportsRead
from modules.wrappers.dedup.domain import UID_BYTES, Domain
from modules.wrappers.dedup.format import RUN, Blob, format_trailer
from modules.wrappers.dedup.index import Index

WAIT_S: Final = 0.02
"""How long the last chunks of a put wait for those of others."""

MAX_BLOBS: Final = 65536
"""A pack of runs and tiny chunks is full with so many."""

Store = Callable[[SupportsRead, int], str]
"""Stores a pack, given its stream and size, and returns its inner module_data."""


@dataclass(eq=False, slots=True)
class Pack:
    """A pack that is being filled, stored or recorded; guarded by its Packer's lock.

    Attributes:
        users: how many puts need it.
        after: older packs that hold what its recipe nodes refer to: they are recorded first.
    """

    uid: bytes = field(default_factory=lambda: secrets.token_bytes(UID_BYTES))
    blobs: dict[bytes, Blob] = field(default_factory=dict)
    payloads: list[bytes] = field(default_factory=list)
    children: dict[bytes, frozenset[bytes]] = field(default_factory=dict)
    size_bytes: int = 0
    is_sealed: bool = False
    users: int = 0
    after: set[Pack] = field(default_factory=set)
    done: threading.Event = field(default_factory=threading.Event)
    error: BaseException | None = None


class Packer:
    """Gathers the new chunks of one volume into packs. Safe for threads.

    A put names each chunk that it needs: :meth:`join` when another may be just storing it,
    :meth:`add` when nobody is. Before it records its object it calls :meth:`wait` for the packs
    that are needed, or :meth:`abandon`.

    Attributes:
        domain: for the trailers; may be locked.
    """

    def __init__(self, index: Index, domain: Domain) -> None:
        self._index = index
        self.domain = domain
        self._changed = threading.Condition()
        self._open: Pack | None = None
        self._unrecorded: list[Pack] = []
        self._puts = 0

    def enter(self) -> None:
        """A put begins."""
        with self._changed:
            self._puts += 1

    def leave(self) -> None:
        """A put has no more chunks."""
        with self._changed:
            self._puts -= 1
            self._changed.notify_all()

    def join(self, id_: bytes, needed: set[Pack]) -> bool:
        """Return whether this chunk is just being stored; its pack is *needed* then."""
        with self._changed:
            return self._join(id_, needed)

    def abandon(self, needed: set[Pack]) -> None:
        """A put failed: what nobody else needs is not stored."""
        with self._changed:
            for pack in needed:
                pack.users -= 1
                if not pack.users and not pack.is_sealed:
                    self._seal(pack)
                    self._unrecorded.remove(pack)

    def add(
        self,
        kind: int,
        id_: bytes,
        encoded: tuple[int, int, bytes],
        plain_bytes: int,
        needed: set[Pack],
        children: frozenset[bytes] | None = None,
    ) -> Pack | None:
        """Add a chunk, unless another was faster; its pack is *needed* then.

        Returns:
            The pack when it is full: the caller must :meth:`flush` it.
        """
        codec, byte, payload = encoded
        with self._changed:
            if self._join(id_, needed):
                return None
            pack = self._open or self._begin()
            offset = byte if codec == RUN else pack.size_bytes
            pack.blobs[id_] = Blob(kind, id_, offset, len(payload), plain_bytes, codec)
            if children is not None:
                pack.children[id_] = children
                pack.after |= needed - {pack}
            if payload:
                pack.payloads.append(payload)
                pack.size_bytes += len(payload)
            _use(pack, needed)
            if pack.size_bytes < self.domain.pack_bytes and len(pack.blobs) < MAX_BLOBS:
                return None
            self._seal(pack)
            return pack

    def wait(self, packs: Collection[Pack], store: Store) -> None:
        """Return when these packs are durable and recorded; store the open one if it is time.

        Raises:
            BaseException: what storing one of them raised.
        """
        for pack in packs:
            if not pack.is_sealed and self._takes_over(pack):
                self.flush(pack, store)
        for pack in packs:
            _wait_for(pack)

    def flush(self, pack: Pack, store: Store) -> None:
        """Store a sealed pack and record it; by the one who sealed it.

        The row that notes it stays when that fails: the inner module may have stored it.
        """
        try:
            blobs = list(pack.blobs.values())
            trailer = format_trailer(self.domain, pack.uid, blobs)
            size_bytes = pack.size_bytes + len(trailer)
            self._index.open_pack(pack.uid)
            module_data = store(PackStream([*pack.payloads, trailer]), size_bytes)
            for older in pack.after:
                _wait_for(older)
            self._close_off(pack)
            self._index.commit_pack(pack.uid, module_data, size_bytes, blobs, pack.children)
        except BaseException as error:
            pack.error = error
            raise
        finally:
            self._close_off(pack)
            pack.payloads.clear()
            pack.after.clear()
            pack.done.set()

    def _close_off(self, pack: Pack) -> None:
        """Let nobody join any more: what is recorded from now on is older than a later put."""
        with self._changed:
            if pack in self._unrecorded:
                self._unrecorded.remove(pack)

    def _takes_over(self, pack: Pack) -> bool:
        """Wait for others a moment; return True when the caller is to store the pack."""
        deadline = time.monotonic() + WAIT_S
        with self._changed:
            while not pack.is_sealed and self._puts > 0:
                left = deadline - time.monotonic()
                if left <= 0:
                    break
                self._changed.wait(left)
            if pack.is_sealed:
                return False
            self._seal(pack)
            return True

    def _join(self, id_: bytes, needed: set[Pack]) -> bool:
        for pack in self._unrecorded:
            if id_ in pack.blobs:
                _use(pack, needed)
                return True
        return False

    def _begin(self) -> Pack:
        self._open = Pack()
        self._unrecorded.append(self._open)
        return self._open

    def _seal(self, pack: Pack) -> None:
        pack.is_sealed = True
        if self._open is pack:
            self._open = None
        self._changed.notify_all()


def _wait_for(pack: Pack) -> None:
    """Return when a sealed pack is recorded; raise what storing it raised."""
    pack.done.wait()
    if isinstance(pack.error, StorageError):
        raise pack.error
    if pack.error is not None:
        raise SubstrateError(
            f"its chunks could not be stored: {pack.error}", operation="put object"
        ) from pack.error


def _use(pack: Pack, needed: set[Pack]) -> None:
    if pack not in needed:
        needed.add(pack)
        pack.users += 1


class PackStream:
    """The parts of a pack, one with each read, as the inner module asks for them."""

    def __init__(self, parts: Sequence[bytes]) -> None:
        self._parts = list(reversed(parts))
        self._rest = memoryview(b"")

    @property
    def is_complete(self) -> bool:
        """True once all was handed out."""
        return not self._parts and not self._rest

    def read(self, size: int = -1, /) -> bytes:
        """Return up to *size* bytes, fewer at any time; ``b""`` only at the end."""
        if size == 0:
            return b""
        if not self._rest:
            if not self._parts:
                return b""
            part = self._parts.pop()
            if size < 0 or len(part) <= size:
                return part
            self._rest = memoryview(part)
        block = bytes(self._rest if size < 0 else self._rest[:size])
        self._rest = self._rest[len(block) :]
        return block
