"""Conditional requests. Source: RFC 9110 §13.2.2, the order of evaluation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from enum import Enum
from typing import Any

from zfsstore.host.errors import PreconditionFailed
from zfsstore.host.http import parse_etags, parse_http_date
from zfsstore.host.namespace.records import UNCONDITIONAL, Conditions, Version


class ReadOutcome(Enum):
    """What a GET or HEAD with conditions answers."""

    SEND = 200
    NOT_MODIFIED = 304


def read_outcome(environ: Mapping[str, Any], version: Version) -> ReadOutcome:
    """Return how a GET or HEAD of *version* goes on.

    Raises:
        PreconditionFailed: If-Match or If-Unmodified-Since does not hold.
        InvalidArgument: a header is no list of entity tags.
    """
    tag = f'"{version.etag}"'
    if_match = parse_etags(environ.get("HTTP_IF_MATCH"), "If-Match")
    since = parse_http_date(environ.get("HTTP_IF_UNMODIFIED_SINCE"))
    if if_match is not None:
        if "*" not in if_match and tag not in if_match:
            raise PreconditionFailed("the object has another ETag than If-Match names")
    elif since is not None and _whole_seconds(version.modified_at) > since:
        raise PreconditionFailed("the object was modified after If-Unmodified-Since")
    if_none_match = parse_etags(environ.get("HTTP_IF_NONE_MATCH"), "If-None-Match")
    if if_none_match is not None:
        is_same = "*" in if_none_match or tag in map(_strong, if_none_match)
        return ReadOutcome.NOT_MODIFIED if is_same else ReadOutcome.SEND
    since = parse_http_date(environ.get("HTTP_IF_MODIFIED_SINCE"))
    if since is not None and _whole_seconds(version.modified_at) <= since:
        return ReadOutcome.NOT_MODIFIED
    return ReadOutcome.SEND


def is_range_current(environ: Mapping[str, Any], version: Version) -> bool:
    """Tell whether If-Range, when there is one, names this version. Source: RFC 9110 §13.1.5."""
    text = environ.get("HTTP_IF_RANGE")
    if not text:
        return True
    if text.lstrip().startswith(('"', "W/")):
        return bool(text.strip() == f'"{version.etag}"')
    return parse_http_date(text) == _whole_seconds(version.modified_at)


def write_conditions(
    environ: Mapping[str, Any], present: Callable[[], Version | None]
) -> Conditions:
    """Return the conditions of a PUT or DELETE, for the write transaction to check.

    If-Unmodified-Since is compared here, then becomes a condition on the ETag that was seen, so
    that nothing can slip in between.

    Args:
        present: returns the object as it is, or None; called only for If-Unmodified-Since.

    Raises:
        PreconditionFailed: If-Unmodified-Since does not hold.
        InvalidArgument: a header is no list of entity tags.
    """
    if_match = parse_etags(environ.get("HTTP_IF_MATCH"), "If-Match")
    if_none_match = parse_etags(environ.get("HTTP_IF_NONE_MATCH"), "If-None-Match")
    since = parse_http_date(environ.get("HTTP_IF_UNMODIFIED_SINCE"))
    if if_match is None and since is not None:
        version = present()  # None: nothing was modified
        if version is not None:
            if _whole_seconds(version.modified_at) > since:
                raise PreconditionFailed("the object was modified after If-Unmodified-Since")
            if_match = (f'"{version.etag}"',)
    if if_match is None and if_none_match is None:
        return UNCONDITIONAL
    return Conditions(
        if_match=None if if_match is None else tuple(map(_bare, if_match)),
        if_none_match=None
        if if_none_match is None
        else tuple(_bare(_strong(tag)) for tag in if_none_match),
    )


def _strong(tag: str) -> str:
    """If-None-Match compares weakly: W/"x" equals "x"."""
    return tag.removeprefix("W/")


def _bare(tag: str) -> str:
    return tag if tag.startswith("W/") else tag.strip('"')


def _whole_seconds(moment: datetime) -> datetime:
    return moment - timedelta(microseconds=moment.microsecond)
