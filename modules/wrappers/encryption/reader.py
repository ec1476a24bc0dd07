"""An object on its way out: seekable, and not one byte of it unauthenticated."""

from __future__ import annotations

from types import TracebackType
from typing import Final, Self

from cryptography.exceptions import InvalidTag

from modules.errors import IntegrityError
from modules.wrappers.encryption.format import (
    HEADER_BYTES,
    SEALED_BYTES,
    SEGMENT_BYTES,
    TAG_BYTES,
    Body,
    sealed_size,
)
from modules.wrappers.inner_reader import InnerReader

FETCH_SEGMENTS: Final = 16
"""How many segments one read of the inner stream covers at most, beside the last one."""


class DecryptedStream:
    """The plaintext of one object. One inner read for each read of up to 1 MiB.

    Nothing is handed out, and no end or size is told, before the segments that say so have been
    authenticated. Keeps one decrypted segment, so that small reads in a row decrypt it once.

    No ``fileno()``: the file behind it holds ciphertext.

    Args:
        inner: the ciphertext; closed with this stream.
        length: of the plaintext, as the ciphertext's size has it.
        subject: for errors: the object's module_data.
    """

    __slots__ = (
        *("_inner", "_body", "_length", "_subject", "_last", "_position"),
        *("_kept", "_kept_number", "_is_end_proven", "_is_closed"),
    )

    def __init__(self, inner: InnerReader, body: Body, length: int, subject: str) -> None:
        self._inner = inner
        self._body = body
        self._length = length
        self._subject = subject
        self._last = length // SEGMENT_BYTES
        self._position = 0
        self._kept: bytes | memoryview = b""
        self._kept_number = -1
        self._is_end_proven = False
        self._is_closed = False

    def read(self, size: int | None = -1, /) -> bytes:
        """Return *size* bytes, fewer only at the end, all that is left for -1.

        Raises:
            IntegrityError: what is stored is not what was put.
        """
        self._require_open()
        left = self._length - self._position
        wanted = left if size is None or size < 0 else min(size, left)
        if wanted <= 0:
            if size != 0:
                self._prove_end()
            return b""
        block = self._read_block(wanted)
        if len(block) == wanted:
            return block
        parts = [block]
        missing = wanted - len(block)
        while missing:
            block = self._read_block(missing)
            parts.append(block)
            missing -= len(block)
        return b"".join(parts)

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """Move to *offset*; touches nothing stored, but for the end of the object."""
        self._require_open()
        if whence == 1:
            offset += self._position
        elif whence == 2:
            self._prove_end()
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
        """Close the inner stream and forget the key; again is silent."""
        if not self._is_closed:
            self._is_closed = True
            self._kept = b""
            del self._body
            self._inner.close()

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

    def _read_block(self, wanted: int) -> bytes:
        """Return 1 to *wanted* bytes from the position, which is inside the object."""
        first, start = divmod(self._position, SEGMENT_BYTES)
        if first == self._kept_number:
            block = bytes(self._kept[start : start + wanted])
        else:
            final = (self._position + wanted - 1) // SEGMENT_BYTES
            final = min(final, first + FETCH_SEGMENTS - (start == 0))
            segments = self._fetch(first, final)
            whole = segments[0] if len(segments) == 1 else b"".join(segments)
            exact = start == 0 and len(whole) <= wanted
            block = whole if exact else bytes(memoryview(whole)[start : start + wanted])
        self._position += len(block)
        return block

    def _fetch(self, first: int, final: int) -> list[bytes]:
        """Return the segments *first* to *final*, decrypted; keep the final one.

        The last segment may be empty: it comes along with the one before it.
        """
        if final == self._last - 1 and self._length % SEGMENT_BYTES == 0:
            final = self._last
        start = HEADER_BYTES + first * SEALED_BYTES
        stop = min(HEADER_BYTES + (final + 1) * SEALED_BYTES, sealed_size(self._length))
        sealed = memoryview(self._inner.read_at(start, stop - start))
        segments = [
            self._open(number, sealed[at : at + SEALED_BYTES])
            for number, at in enumerate(range(0, len(sealed), SEALED_BYTES), first)
        ]
        if final == self._last:
            self._is_end_proven = True
        kept = -2 if len(segments) > 1 and not segments[-1] else -1
        self._kept = segments[kept]
        self._kept_number = final + 1 + kept
        return segments

    def _open(self, number: int, sealed: memoryview) -> bytes:
        try:
            return self._body.aead.decrypt(self._body.nonce(number), sealed, None)
        except InvalidTag:
            raise IntegrityError(
                f"segment {number} was altered, or belongs elsewhere",
                operation="decrypt object",
                subject=self._subject,
                hint="restore it from a snapshot or a replica",
            ) from None

    def _prove_end(self) -> None:
        """Authenticate the last segment: then the object ends where it should."""
        if not self._is_end_proven:
            size = self._length % SEGMENT_BYTES + TAG_BYTES
            start = HEADER_BYTES + self._last * SEALED_BYTES
            self._open(self._last, memoryview(self._inner.read_at(start, size)))
            self._is_end_proven = True

    def _require_open(self) -> None:
        if self._is_closed:
            raise ValueError("the stream is closed")
