"""Reading objects by ranges; every byte is checked against what module_data says."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import Any, Final, Self

from modules.errors import IntegrityError, StorageError, SubstrateError, Unavailable
from zfsstore.s3store.client import Clients
from zfsstore.s3store.config import S3Config
from zfsstore.s3store.failures import translated
from zfsstore.s3store.layout import BLOCK_BYTES, DIGEST_BYTES, ModuleData, digest

_PAUSE_S: Final = 0.1
_CORRUPTED_ATTEMPTS: Final = 2
"""A byte may have been flipped on the way; in the bucket it stays so."""


class ObjectReader:
    """Fetches pieces of one object; holds no connection in between.

    Args:
        subject: for errors.
    """

    __slots__ = ("_clients", "_config", "_data", "_etag", "_key", "_subject", "_table")

    def __init__(
        self, clients: Clients, config: S3Config, key: str, data: ModuleData, subject: str
    ) -> None:
        self._clients = clients
        self._config = config
        self._key = key
        self._data = data
        self._subject = subject
        self._etag: str | None = None
        self._table: bytes = data.root

    def open(self) -> bytes:
        """Prove that the object is there with one request; return its content if it is one block.

        Raises:
            ObjectNotFound, IntegrityError
        """
        data = self._data
        if data.blocks <= 1:
            return self._fetch(0, [data.size], data.root)[0]
        self._table = self._fetch(data.size, [data.table_bytes], data.root)[0]
        return b""

    def root(self, length: int) -> bytes:
        """Return what module_data has to say of an object whose bytes are unknown.

        Args:
            length: of the table or, with one block at most, of the content.
        """
        start = self._data.stored_bytes - length
        return digest(self._fetch(start, [length], None)[0])

    def blocks(self, first: int, count: int) -> list[bytes]:
        """Return *count* blocks from number *first*, with one request."""
        start = first * BLOCK_BYTES
        ends = [min(start + (n + 1) * BLOCK_BYTES, self._data.size) for n in range(count)]
        sizes = [end - (start + n * BLOCK_BYTES) for n, end in enumerate(ends)]
        digests = self._table[first * DIGEST_BYTES : (first + count) * DIGEST_BYTES]
        return self._fetch(start, sizes, digests)

    def _fetch(self, start: int, sizes: Sequence[int], digests: bytes | None) -> list[bytes]:
        """Return pieces that follow each other from *start*; tries again what is cut off.

        Args:
            digests: of the pieces, one after the other; None to check none.
        """
        attempt = 1
        while True:
            answer = self._request(start, sum(sizes))
            try:
                return self._receive(answer, sizes, digests)
            except (Unavailable, IntegrityError) as error:
                is_corrupted = isinstance(error, IntegrityError)
                most = min(self._config.max_attempts, _CORRUPTED_ATTEMPTS if is_corrupted else 100)
                if attempt >= most:
                    raise
            time.sleep(_PAUSE_S * attempt)
            attempt += 1

    def _request(self, start: int, size: int) -> dict[str, Any]:
        """Ask for a range of this very object: another one under its key is refused."""
        arguments: dict[str, Any] = {"Bucket": self._config.bucket, "Key": self._key}
        is_part = size != self._data.stored_bytes
        if is_part:
            arguments["Range"] = f"bytes={start}-{start + size - 1}"
        if self._etag is not None:
            arguments["IfMatch"] = self._etag
        with self._errors():
            answer: dict[str, Any] = self._clients.get().get_object(**arguments)
        try:
            self._check(answer, start, size, is_part=is_part)
        except StorageError:
            answer["Body"].close()
            raise
        self._etag = answer.get("ETag")
        return answer

    def _check(self, answer: dict[str, Any], start: int, size: int, *, is_part: bool) -> None:
        """Check that it is the range that was asked for, of an object of the right length."""
        stored, length = self._data.stored_bytes, answer.get("ContentLength")
        whole = str(length)
        if is_part and "ContentRange" in answer:
            whole = str(answer["ContentRange"]).rpartition("/")[2]
        if whole != str(stored):
            raise self._damaged(f"it has {whole} bytes in the bucket instead of {stored}")
        expected = f"bytes {start}-{start + size - 1}/{stored}"
        if is_part and (answer.get("ContentRange") != expected or length != size):
            raise SubstrateError(
                "the S3 service did not give the range that was asked for",
                operation="get object",
                subject=self._subject,
                hint="check that the service, and any proxy before it, honours Range",
            )

    def _receive(
        self, answer: dict[str, Any], sizes: Iterable[int], digests: bytes | None
    ) -> list[bytes]:
        body = answer["Body"]
        pieces = []
        try:
            for number, size in enumerate(sizes):
                piece = self._read(body, size)
                place = slice(number * DIGEST_BYTES, (number + 1) * DIGEST_BYTES)
                if digests is not None and digest(piece) != digests[place]:
                    raise self._damaged("its bytes are not those that were put")
                pieces.append(piece)
        finally:
            body.close()  # gives a connection back whose answer was read to the end
        return pieces

    def _read(self, body: Any, size: int) -> bytes:
        parts: list[bytes] = []
        missing = size
        while missing:
            with self._errors():
                part: bytes = body.read(missing)
            if not part:
                raise Unavailable(
                    "the S3 service ended its answer too early",
                    operation="get object",
                    subject=self._subject,
                    hint="try again; check the network",
                )
            parts.append(part)
            missing -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _errors(self) -> Any:
        return translated(operation="get object", subject=self._subject)

    def _damaged(self, reason: str) -> IntegrityError:
        return IntegrityError(
            reason,
            operation="get object",
            subject=self._subject,
            hint="restore it from a copy of the bucket",
        )


class S3ObjectStream:
    """A stream of an object; reads ahead while it is read from front to back.

    A read fetches the blocks it needs with one request, and up to ``read_ahead_bytes`` with one
    when it goes on where the last one ended.
    """

    __slots__ = ("_ahead", "_blocks", "_closed", "_first", "_most", "_position", "_reader", "_size")

    def __init__(self, reader: ObjectReader, size: int, content: bytes, most: int) -> None:
        self._reader = reader
        self._size = size
        self._most = most
        self._first = 0
        self._blocks = [content] if content else []
        self._ahead = 1
        self._position = 0
        self._closed = False

    def read(self, size: int | None = -1, /) -> bytes:
        """Return *size* bytes, fewer only at the end.

        Raises:
            IntegrityError: they are not what was put; nothing unchecked is ever returned.
            ObjectNotFound: it was deleted meanwhile.
        """
        self._require_open()
        left = max(0, self._size - self._position)
        wanted = left if size is None or size < 0 else min(size, left)
        parts = []
        while wanted:
            part = self._next(wanted)
            parts.append(part)
            self._position += len(part)
            wanted -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _next(self, wanted: int) -> bytes:
        """Return at most *wanted* bytes at the position, out of one block."""
        number, offset = divmod(self._position, BLOCK_BYTES)
        if not self._first <= number < self._first + len(self._blocks):
            self._load(number, -(-(offset + wanted) // BLOCK_BYTES))
        block = self._blocks[number - self._first]
        return block[offset : offset + wanted]

    def _load(self, number: int, needed: int) -> None:
        is_next = number == self._first + len(self._blocks) and bool(self._blocks)
        self._ahead = min(self._ahead * 2, self._most) if is_next else 1
        last = -(-self._size // BLOCK_BYTES)
        count = min(max(self._ahead, min(needed, self._most)), last - number)
        self._blocks = []  # not both at once
        self._blocks = self._reader.blocks(number, count)
        self._first = number

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """Move without any request; see modules.streams.ReadStream."""
        self._require_open()
        if whence not in (0, 1, 2):
            raise ValueError(f"whence must be 0, 1 or 2, not {whence!r}")
        position = offset + (0, self._position, self._size)[whence]
        if position < 0:
            raise ValueError("the position must not be negative")
        self._position = position
        return position

    def tell(self) -> int:
        """Return the position in bytes."""
        self._require_open()
        return self._position

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def close(self) -> None:
        """Forget what was read; again is silent."""
        self._closed = True
        self._blocks = []

    def _require_open(self) -> None:
        if self._closed:
            raise ValueError("the stream is closed")

    def __enter__(self) -> Self:
        self._require_open()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
