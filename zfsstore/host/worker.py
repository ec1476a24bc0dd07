"""gunicorn's threaded worker, answering what its parser refuses in our JSON."""

from __future__ import annotations

import logging
from typing import Any, Final

from gunicorn import util  # type: ignore[import-untyped]
from gunicorn.http.errors import (  # type: ignore[import-untyped]
    ConfigurationProblem,
    LimitRequestHeaders,
    LimitRequestLine,
    ParseException,
    UnsupportedTransferCoding,
)
from gunicorn.workers.gthread import ThreadWorker  # type: ignore[import-untyped]

from zfsstore.host.exchange import to_json
from zfsstore.host.http import simple_error_body

_REFUSALS: Final[tuple[tuple[type[Exception], str, str, str | None], ...]] = (
    (LimitRequestLine, "414 URI Too Long", "address_too_long", "shorten the name"),
    (LimitRequestHeaders, "431 Request Header Fields Too Large", "headers_too_large", None),
    (UnsupportedTransferCoding, "501 Not Implemented", "not_supported", "use chunked"),
    (ParseException, "400 Bad Request", "bad_request", None),
)


class Worker(ThreadWorker):  # type: ignore[misc]  # gunicorn has no annotations
    """Threads, one per request; a stalled client is cut off by socket timeouts."""

    def init_process(self) -> None:
        self.log.error_log.addFilter(_is_worth_logging)
        super().init_process()

    def handle_error(self, req: Any, client: Any, addr: Any, exc: BaseException) -> None:
        """Answer a request that could not be parsed."""
        if not isinstance(exc, ParseException) or isinstance(exc, ConfigurationProblem):
            super().handle_error(req, client, addr, exc)
            return
        status, code, hint = next(row[1:] for row in _REFUSALS if isinstance(exc, row[0]))
        self.log.info("refused a request: %s", exc)
        body = to_json(simple_error_body(code, str(exc)[:500], hint))
        head = (
            f"HTTP/1.1 {status}\r\nConnection: close\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        try:
            util.write_nonblock(client, head.encode("latin-1") + body)
        except OSError as error:
            self.log.debug("the client left: %s", error)


def _is_worth_logging(record: logging.LogRecord) -> bool:
    """Drop the traceback that a client leaves which connects and sends nothing in time."""
    return record.exc_info is None or not isinstance(
        record.exc_info[1], BlockingIOError | TimeoutError
    )
