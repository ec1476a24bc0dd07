"""An object on its way in: a stream of ciphertext that the inner module reads."""

from __future__ import annotations

from typing import Final

from modules.errors import InvalidArgument, TruncatedStream
from modules.streams import SupportsRead
from modules.wrappers.encryption.format import MAX_SEGMENTS, SEGMENT_BYTES, Body

READ_BYTES: Final = 8 * SEGMENT_BYTES
"""How much is taken from the source at once: a put holds at most 4 MiB, the inner one included."""

_NOTHING: Final = memoryview(b"")
_BYTES: Final = (bytes, bytearray, memoryview)  # made once: a union is made with each use


class EncryptingStream:
    """Reads *source* and gives its header and segments, as often as asked.

    A read gives one segment at a time, without a copy: readers gather what they need. The last,
    short segment is made only when the source ended as it should; after an error every further
    read raises it again. So an inner module that goes on regardless never stores an object that
    opens.

    Attributes:
        length: how many bytes of *source* were taken.

    Args:
        expected_bytes: how long *source* must be; None when unknown.
        max_segments: where to stop, before a nonce could occur twice.
    """

    __slots__ = (
        *("length", "_body", "_error", "_expected_bytes", "_is_ended", "_max_segments"),
        *("_number", "_plain", "_ready", "_source"),
    )

    def __init__(
        self,
        source: SupportsRead,
        header: bytes,
        body: Body,
        *,
        expected_bytes: int | None = None,
        max_segments: int = MAX_SEGMENTS,
    ) -> None:
        self.length = 0
        self._source = source
        self._body = body
        self._expected_bytes = expected_bytes
        self._max_segments = max_segments
        self._plain = _NOTHING
        self._number = 0
        self._ready = memoryview(header)
        self._is_ended = False
        self._error: BaseException | None = None

    @property
    def is_complete(self) -> bool:
        """True once the source ended as it should and the last byte was handed out."""
        return self._is_ended and not self._ready

    def read(self, size: int = -1, /) -> bytes:
        """Return up to *size* bytes, fewer at any time; ``b""`` only at the end.

        Raises:
            TruncatedStream: the source did not hold what was promised.
            BaseException: what the source raised.
        """
        if self._error is not None:
            raise self._error
        if not self._ready:
            if self._is_ended:
                return b""
            try:
                sealed = self._next_segment()
            except BaseException as error:
                self._error = error
                raise
            if size < 0 or size >= len(sealed):
                return sealed
            self._ready = memoryview(sealed)
        block = bytes(self._ready[:size] if size >= 0 else self._ready)
        self._ready = self._ready[len(block) :]
        return block

    def _next_segment(self) -> bytes:
        if len(self._plain) < SEGMENT_BYTES:
            self._fill()
        if self._number >= self._max_segments:
            raise InvalidArgument(
                f"it is longer than {self._max_segments * SEGMENT_BYTES - 1} bytes",
                operation="encrypt object",
                field="stream",
                hint="store it in parts",
            )
        plain, self._plain = self._plain[:SEGMENT_BYTES], self._plain[SEGMENT_BYTES:]
        sealed = self._body.aead.encrypt(self._body.nonce(self._number), plain, None)
        self._number += 1
        self._is_ended = len(plain) < SEGMENT_BYTES
        return sealed

    def _fill(self) -> None:
        """Read on until a whole segment is at hand, or the source ended as it should."""
        parts: list[bytes | memoryview] = [self._plain] if self._plain else []
        size = len(self._plain)
        self._plain = _NOTHING  # let go of the block before, rather than have two
        while size < SEGMENT_BYTES:
            block = self._source.read(self._wanted() - size)
            if not isinstance(block, _BYTES):
                raise InvalidArgument(
                    f"read() must return bytes, not {type(block).__name__}", field="stream"
                )
            self.length += len(block)
            self._check_length(is_end=not block)
            if not block:
                break
            parts.append(block)
            size += len(block)
        self._plain = memoryview(parts[0] if len(parts) == 1 else b"".join(parts))

    def _wanted(self) -> int:
        """Return how much to read at once: no more than there is, for the sake of small objects."""
        if self._expected_bytes is None:
            return READ_BYTES
        left = self._expected_bytes - self.length + SEGMENT_BYTES
        return min(READ_BYTES, left)

    def _check_length(self, *, is_end: bool) -> None:
        expected = self._expected_bytes
        if expected is None or self.length == expected or (self.length < expected and not is_end):
            return
        if is_end:
            reason = f"the stream ended after {self.length} of {expected} bytes"
        else:
            reason = f"the stream goes on after the {expected} bytes that were promised"
        raise TruncatedStream(
            reason,
            expected_bytes=expected,
            received_bytes=self.length,
            hint="send the whole object again",
        )
