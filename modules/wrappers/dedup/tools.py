"""What maintenance works with: one volume's index, and its packs in the inner module."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from modules.fences import Hold
from modules.streams import ReadStream
from modules.wrappers.dedup.blobs import BlobReader, Find
from modules.wrappers.dedup.domain import Domain
from modules.wrappers.dedup.format import FOOT, Trailer, damaged, parse_trailer, trailer_bytes
from modules.wrappers.dedup.index import Index
from modules.wrappers.dedup.packs import Store
from modules.wrappers.inner_reader import InnerReader


@dataclass(frozen=True, slots=True)
class Tools:
    """One volume.

    Attributes:
        find: looks chunks up in the index.
        open_pack, store, delete: of the inner module, by its module_data.
        hold: of the volume's fence, where it has one.
    """

    index: Index
    domain: Domain
    find: Find
    open_pack: Callable[[str], ReadStream]
    store: Store
    delete: Callable[[str], None]
    hold: Hold | None

    @property
    def is_draining(self) -> bool:
        """True when somebody waits to be alone in the volume."""
        return self.hold is not None and self.hold.is_draining

    def blob_reader(self, subject: str) -> BlobReader:
        """Return a reader of chunks; close it."""
        return BlobReader(self.domain, self.find, self.open_pack, subject)


def read_trailer(open_pack: Callable[[str], ReadStream], pack: str) -> tuple[Trailer, int]:
    """Return a pack's trailer, and the pack's size in bytes.

    Raises:
        IntegrityError: it is no pack, or damaged.
        StorageError: it cannot be read.
    """
    stream = open_pack(pack)
    try:
        reader = InnerReader(stream, operation="read pack", subject=pack)
        size = reader.size()
        if size < FOOT.size:
            raise damaged("it is too short for a pack", pack)
        length = trailer_bytes(reader.read_at(size - FOOT.size, FOOT.size), size, subject=pack)
        start = size - FOOT.size - length
        return parse_trailer(reader.read_at(start, length), end=start, subject=pack), size
    finally:
        stream.close()
