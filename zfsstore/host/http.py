"""HTTP that any front end needs: JSON bodies, header values, error answers."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime
from typing import Any, Final
from urllib.parse import parse_qsl

from modules.errors import InvalidArgument, StorageError
from modules.streams import SupportsRead
from zfsstore.host.errors import TooLarge, error_code

MAX_JSON_BYTES: Final = 1024 * 1024

_ETAG: Final = re.compile(r'\s*((?:W/)?"[\x21\x23-\x7e\x80-\xff]*")\s*')
_RANGE: Final = re.compile(r"\s*bytes\s*=\s*(?:(\d{1,19})\s*-\s*(\d{0,19})|-\s*(\d{1,19}))\s*")


def read_json(stream: SupportsRead) -> Any:
    """Return the JSON value in a request's body.

    Raises:
        InvalidArgument: no UTF-8, no JSON (with line and column), a name twice in an object, or
            what cannot be written down again: half a surrogate pair, a number out of all bounds.
        TooLarge: over 1 MiB.
    """
    parts: list[bytes] = []
    total = 0
    while part := stream.read(65536):
        total += len(part)
        if total > MAX_JSON_BYTES:
            raise TooLarge(f"the JSON body is over {MAX_JSON_BYTES} bytes", field="body")
        parts.append(part)
    try:
        text = b"".join(parts).decode()
    except UnicodeDecodeError as error:
        raise InvalidArgument(
            f"the body is no UTF-8 (byte {error.start})", field="body", hint="send JSON as UTF-8"
        ) from None
    try:
        value = json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant)
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except json.JSONDecodeError as error:
        raise InvalidArgument(
            f"the body is no JSON: {error.msg} at line {error.lineno}, column {error.colno}",
            field="body",
            hint=_json_hint(text, error),
        ) from None
    except RecursionError:
        raise InvalidArgument("the body is nested too deeply", field="body") from None
    except UnicodeEncodeError:
        raise InvalidArgument(
            "the body has a text that is no Unicode: half a surrogate pair", field="body"
        ) from None
    except ValueError:  # 1e999, or an integer of over 4,300 digits
        raise InvalidArgument("the body has a number that is too large", field="body") from None
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise InvalidArgument(f"the body has {twice[:80]!r} twice in one object", field="body")
    return members


def _no_constant(name: str) -> Any:
    raise InvalidArgument(f"the body has {name}, which is no JSON", field="body")


def _json_hint(text: str, error: json.JSONDecodeError) -> str | None:
    line = text.splitlines()[error.lineno - 1] if text.strip() else ""
    if not line:
        return "send a JSON object"
    start = max(0, error.colno - 31)
    near = line[start : error.colno + 9]
    return f"look at or just before: {_hide_values(near)}"


def _hide_values(text: str) -> str:
    """Keep member names and punctuation of JSON text; a value might be a secret."""
    return re.sub(r'(:\s*")[^"]*', r"\1...", text)


def error_body(error: StorageError, *, request_id: str, is_detailed: bool) -> dict[str, Any]:
    """Return the JSON body of an error answer.

    Args:
        is_detailed: False hides what failed inside the server.
    """
    if not is_detailed:
        return _body("internal_error", "the server could not do it", _log_hint(request_id))
    return _body(error_code(error), _message(error), error.hint, getattr(error, "field", None))


def internal_error_body(request_id: str) -> dict[str, Any]:
    """Return the JSON body for a fault in the server's own code."""
    return _body("internal_error", "the server failed", _log_hint(request_id))


def simple_error_body(code: str, message: str, hint: str | None = None) -> dict[str, Any]:
    """Return the JSON body of an error that has no class."""
    return _body(code, message, hint)


def _body(
    code: str, message: str, hint: str | None = None, field: str | None = None
) -> dict[str, Any]:
    error = {"code": code, "message": message, "hint": hint}
    if field is not None:
        error["field"] = field
    return {"error": error}


def _message(error: StorageError) -> str:
    """Return the sentence without its hint, which has a member of its own."""
    text = str(error)
    return text.removesuffix(f"; {error.hint}") if error.hint else text


def _log_hint(request_id: str) -> str:
    return f"the server's log has the reason under request {request_id}"


def format_http_date(moment: datetime) -> str:
    """Return an aware datetime as IMF-fixdate. Source: RFC 9110 §5.6.7."""
    return format_datetime(moment.astimezone(UTC), usegmt=True)


def parse_http_date(text: str | None) -> datetime | None:
    """Return the moment of an HTTP date, None when there is none or it is invalid.

    A recipient ignores an invalid date. Source: RFC 9110 §13.1.3.
    """
    if not text:
        return None
    try:
        moment = parsedate_to_datetime(text)
    except (TypeError, ValueError, IndexError, OverflowError):
        return None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def parse_etags(text: str | None, field: str) -> tuple[str, ...] | None:
    """Return the entity tags of If-Match or If-None-Match as written; ``("*",)`` for any.

    Raises:
        InvalidArgument: no list of entity tags. Source: RFC 9110 §8.8.3.
    """
    if text is None:
        return None
    if text.strip() == "*":
        return ("*",)
    tags = []
    position = 0
    while position < len(text):
        match = _ETAG.match(text, position)
        if match is None or (match.end() < len(text) and text[match.end()] != ","):
            raise InvalidArgument(
                f"{field} is no list of entity tags", field=field, hint='write "tag" in quotes'
            )
        tags.append(match.group(1))
        position = match.end() + 1
    return tuple(tags)


def parse_range(text: str | None, size_bytes: int) -> tuple[int, int] | None:
    """Return offset and length of the one range asked for; None to send everything.

    Several ranges, another unit, and what cannot be read are ignored, as a server may.
    A range that starts past the end has the length 0. Source: RFC 9110 §14.2.
    """
    match = _RANGE.fullmatch(text) if text else None
    if match is None:
        return None
    first, last, suffix = match.groups()
    if suffix is not None:
        length = min(int(suffix), size_bytes)
        return size_bytes - length, length
    start = int(first)
    end = int(last) if last else size_bytes - 1
    if last and end < start:
        return None
    if start >= size_bytes:
        return start, 0
    return start, min(end, size_bytes - 1) - start + 1


def query_parameters(query: str, known: Sequence[str]) -> Mapping[str, str]:
    """Return the decoded parameters of a query string.

    Raises:
        InvalidArgument: an unknown or repeated name, a broken escape, no UTF-8.
    """
    if not query:
        return {}
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=True, errors="strict")
    except ValueError:
        raise InvalidArgument("the query cannot be decoded", field="query") from None
    parameters: dict[str, str] = {}
    for name, value in pairs:
        if name not in known or name in parameters:
            reason = "is given twice" if name in parameters else "is unknown"
            raise InvalidArgument(
                f"the query parameter {name[:80]!r} {reason}",
                field=name[:80],
                hint=f"known are {', '.join(known)}" if known else "there are none here",
            )
        parameters[name] = value
    return parameters


def snapshot_parameter(query: str) -> str | None:
    """Return the snapshot that a read asks for, None for the present.

    Raises:
        InvalidArgument: there is another parameter.
    """
    return query_parameters(query, ("snapshot",)).get("snapshot")


def refuse_snapshot(query: str) -> None:
    """Raise InvalidArgument when a change is asked for in a snapshot, or with any parameter."""
    if snapshot_parameter(query) is not None:
        raise InvalidArgument(
            "a snapshot cannot be changed",
            field="snapshot",
            hint="leave ?snapshot= out, or let an operator fork the bucket",
        )


def limit_parameter(parameters: Mapping[str, str], *, default: int = 1000) -> int:
    """Return ``limit`` of a listing, 1 to 1,000.

    Raises:
        InvalidArgument: another number, or none.
    """
    text = parameters.get("limit", str(default))
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:9]) <= 1000):
        raise InvalidArgument("limit must be 1 to 1000", field="limit")
    return int(text)
