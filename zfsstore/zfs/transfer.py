"""From a stream that is sent to one that is received, in bounded memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from zfsstore.zfs.seam import CommandWriter
from zfsstore.zfs.streams import CHUNK_BYTES


class SupportsRead(Protocol):
    """Any source of bytes; one that fails raises where they end."""

    def read(self, size: int, /) -> bytes: ...


def copy_stream(
    source: SupportsRead, sink: CommandWriter, *, on_progress: Callable[[int], None] | None = None
) -> int:
    """Write all of *source* to *sink*, finish it, and return how many bytes there were.

    A source that fails aborts the sink, which so never takes half a stream for a whole one; what
    the sink died of is raised as it is. Closing the source is the caller's.

    Args:
        source: read in pieces of up to 1 MiB.
        sink: finished or aborted when this returns or raises.
        on_progress: called after each piece with the bytes so far; what it raises ends the copy.
    """
    total = 0
    with sink:
        while data := source.read(CHUNK_BYTES):
            sink.write(data)
            total += len(data)
            if on_progress is not None:
                on_progress(total)
        sink.finish()
    return total
