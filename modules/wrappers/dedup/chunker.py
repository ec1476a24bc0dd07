"""Cutting content into chunks where the content says so: FastCDC 2020, normalized chunking 2.

The boundaries are part of the format: with others nothing new would be equal to anything old.
tests/wrappers/vectors/d1-chunks.json holds what they must be.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import Final

from pyfastcdc import FastCDC

from modules.errors import TruncatedStream
from modules.streams import SupportsRead, read_block
from modules.wrappers.dedup.domain import MIB, Domain

READ_BYTES: Final = MIB
_NORMALIZED: Final = 2

_Chunk = memoryview


def cut(stream: SupportsRead, domain: Domain, *, expected_bytes: int | None) -> Iterator[_Chunk]:
    """Yield the chunks of *stream*; one of no bytes when it is empty.

    A chunk stays as it is for as long as it is referred to, and keeps about 1 MiB alive: copy
    what is kept. A cut is taken only where a whole chunk of the largest size could have followed,
    so the result does not depend on how the stream is read.

    Raises:
        TruncatedStream: *stream* did not hold *expected_bytes*.
    """
    chunker = FastCDC(
        domain.average_bytes,
        min_size=domain.min_bytes,
        max_size=domain.max_bytes,
        normalized_chunking=_NORMALIZED,
        seed=domain.seed,
    )
    block_bytes = max(READ_BYTES, 2 * domain.max_bytes)
    rest, total = b"", 0
    while True:
        wanted = block_bytes
        if expected_bytes is not None:  # one byte more shows that it goes on
            wanted = min(block_bytes, expected_bytes - total + 1)
        block = read_block(stream, wanted)
        total += len(block)
        is_end = len(block) < wanted
        _check_length(total, expected_bytes, is_end=is_end)
        buffer = memoryview(b"".join((rest, block)) if rest else block)
        del block  # it would stay until the caller has taken all chunks
        start = yield from _cut_block(chunker, buffer, domain.max_bytes, is_end=is_end)
        if is_end:
            if not total:
                yield buffer
            return
        rest = bytes(buffer[start:])


def _cut_block(
    chunker: FastCDC, buffer: memoryview, max_bytes: int, *, is_end: bool
) -> Generator[_Chunk, None, int]:
    start = 0
    for chunk in chunker.cut_buf(buffer):
        if not is_end and len(buffer) - start < max_bytes:
            break
        yield buffer[start : start + chunk.length]
        start += chunk.length
    return start


def _check_length(total: int, expected: int | None, *, is_end: bool) -> None:
    if expected is None or total == expected or (total < expected and not is_end):
        return
    if total < expected:
        reason = f"the stream ended after {total} of {expected} bytes"
    else:
        reason = f"the stream goes on after the {expected} bytes that were promised"
    raise TruncatedStream(
        reason, expected_bytes=expected, received_bytes=total, hint="send the whole object again"
    )
