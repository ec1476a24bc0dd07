"""The body of a request as a stream that never mistakes an aborted upload for a complete one."""

from __future__ import annotations

import re
import socket
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final

from modules.errors import InvalidArgument, StorageError, TruncatedStream
from modules.streams import SupportsRead
from zfsstore.host.errors import LengthRequired, TooLarge, UploadStalled

DRAIN_BYTES: Final = 8 * 1024 * 1024
DRAIN_S: Final = 5.0
_DRAIN_BLOCK: Final = 64 * 1024
_DIGITS: Final = re.compile(r"[0-9]{1,19}")


class Upload:
    """Reads a request's body; any end but the announced one is an error.

    Attributes:
        content_length: as the client announced it, None for a chunked body.

    Args:
        max_bytes: a longer body is refused, at once when it is announced.

    Raises:
        TooLarge: the announced length is over *max_bytes*.
        InvalidArgument: the Content-Length is no number.
        LengthRequired: chunked, under a server that does not say where such a body ends.
    """

    def __init__(self, environ: Mapping[str, Any], *, max_bytes: int | None = None) -> None:
        self._input: SupportsRead = environ["wsgi.input"]
        self._socket: socket.socket | None = environ.get("gunicorn.socket")
        self._max_bytes = max_bytes
        self._received = 0
        self._has_ended = False
        self.content_length: int | None = _content_length(environ)
        if self.content_length == 0:
            self._has_ended = True
        if max_bytes is not None and (self.content_length or 0) > max_bytes:
            raise self._too_large()

    def read(self, size: int = -1, /) -> bytes:
        """Return up to *size* bytes, ``b""`` only at the true end of the body.

        Raises:
            TruncatedStream: the connection broke, or the body ended early or is malformed.
            UploadStalled: no byte came for the configured time.
            TooLarge: a chunked body grew over the limit.
        """
        if self._has_ended:
            return b""
        if self.content_length is not None:
            left = self.content_length - self._received
            size = left if size < 0 else min(size, left)
        try:
            data = self._input.read(size)
        except TimeoutError as error:
            self._has_ended = True
            raise UploadStalled(
                f"the upload stalled after {self._received} bytes",
                expected_bytes=self.content_length,
                received_bytes=self._received,
                hint="send the whole object again",
            ) from error
        except Exception as error:  # each server has its own classes for a broken body
            self._has_ended = True
            raise self._truncated("the connection or its chunked coding broke") from error
        self._received += len(data)
        if not data and size != 0:
            self._has_ended = True
            if self.content_length is not None:
                raise self._truncated("the connection ended")
        if self._received == self.content_length:
            self._has_ended = True
        if self._max_bytes is not None and self._received > self._max_bytes:
            raise self._too_large()
        return data

    def interrupt(self) -> None:
        """Let a read fail that waits for the client, under our own server; elsewhere nothing."""
        if self._socket is not None:
            with suppress(OSError):  # the client may have left
                self._socket.shutdown(socket.SHUT_RD)

    def require_empty(self, what: str) -> None:
        """Refuse a body where none is expected.

        Raises:
            InvalidArgument: there is one.
        """
        if self.read(1):
            raise InvalidArgument(f"{what} takes no body", field="body")

    def drain(self) -> None:
        """Read on for a bounded while, so that a client that is still sending sees the answer."""
        if self._has_ended:
            return
        deadline = time.monotonic() + DRAIN_S
        start = self._received
        self._max_bytes = None
        bell = threading.Timer(DRAIN_S, self.interrupt)  # for who stalls, or sends a byte at a time
        bell.daemon = True
        bell.start()
        try:
            while (
                not self._has_ended
                and self._received - start < DRAIN_BYTES
                and time.monotonic() < deadline
            ):
                self.read(_DRAIN_BLOCK)
        except StorageError:
            return
        finally:
            bell.cancel()

    def _truncated(self, reason: str) -> TruncatedStream:
        of = "" if self.content_length is None else f" of {self.content_length}"
        return TruncatedStream(
            f"{reason} after {self._received}{of} bytes",
            operation="receive",
            subject="the upload",
            expected_bytes=self.content_length,
            received_bytes=self._received,
            hint="send the whole object again",
        )

    def _too_large(self) -> TooLarge:
        return TooLarge(
            f"this server takes up to {self._max_bytes} bytes in one request",
            field="Content-Length",
        )


def _content_length(environ: Mapping[str, Any]) -> int | None:
    if environ.get("HTTP_TRANSFER_ENCODING"):
        if not environ.get("wsgi.input_terminated"):
            raise LengthRequired(
                "a chunked body cannot be received here",
                field="Content-Length",
                hint="send Content-Length, or turn on chunked requests in the web server",
            )
        return None
    text = environ.get("CONTENT_LENGTH") or "0"
    if not _DIGITS.fullmatch(text):
        raise InvalidArgument("Content-Length is no number", field="Content-Length")
    return int(text)
