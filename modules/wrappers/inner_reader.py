"""Exact reads from an inner module's stream, for wrappers whose formats know every length."""

from __future__ import annotations

from modules.errors import IntegrityError
from modules.streams import ReadStream


class InnerReader:
    """The inner stream, read exactly: short reads are continued, a wrong length is an error.

    Args:
        operation, subject: for errors.
    """

    __slots__ = ("_operation", "_position", "_stream", "_subject")

    def __init__(self, stream: ReadStream, *, operation: str, subject: str) -> None:
        self._stream = stream
        self._operation = operation
        self._subject = subject
        self._position = 0

    def size(self) -> int:
        """Return how many bytes the inner object has."""
        self._position = -1
        return self._stream.seek(0, 2)

    def read_at(self, offset: int, size: int) -> bytes:
        """Return exactly *size* bytes from *offset*.

        Raises:
            IntegrityError: the inner module gave fewer, or more than it was asked for.
        """
        if self._position != offset:
            self._stream.seek(offset)
        self._position = -1  # unknown, should a read fail
        data = self._stream.read(size)
        if 0 < len(data) < size:
            parts = [data]
            missing = size - len(data)
            while missing > 0 and (part := self._stream.read(missing)):
                parts.append(part)
                missing -= len(part)
            data = b"".join(parts)
        if len(data) != size:
            raise IntegrityError(
                f"the inner module gave {len(data)} of {size} bytes at {offset}",
                operation=self._operation,
                subject=self._subject,
                hint="restore it from a snapshot or a replica",
            )
        self._position = offset + size
        return data

    def close(self) -> None:
        """Close the inner stream; again is silent."""
        self._stream.close()
