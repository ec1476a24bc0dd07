"""Pages of a bucket's keys in byte order, rolled up at a delimiter, by seeking only.

A common prefix costs one seek however many keys lie below it, so a page costs the same at the
start and at the end of ten million keys.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from zfsstore.host.namespace.names import successor
from zfsstore.host.namespace.records import CommonPrefix, Page, Version, parse_version

FIRST_CHUNK: Final = 32
MAX_CHUNK: Final = 1000

Fetch = Callable[[bytes, bytes, int], Sequence[Any]]
"""``fetch(start, end, limit)``: rows of statements.VERSION_COLUMNS with start <= key < end."""


def list_page(fetch: Fetch, *, prefix: bytes, delimiter: bytes, after: bytes, limit: int) -> Page:
    """Return up to *limit* versions and common prefixes below *prefix* that follow *after*.

    Args:
        delimiter: keys that contain it after the prefix are rolled up; ``b""`` for none.
        after: a key, or a common prefix of this listing, which stands for all keys below it.
    """
    start, end = prefix, successor(prefix)
    if after and after >= prefix:
        start = after + b"\0"
        if delimiter and _common_prefix(after, prefix, delimiter) == after:
            start = successor(after)
    items: list[Version | CommonPrefix] = []
    last = b""
    chunk = min(FIRST_CHUNK, limit + 1)
    while start < end:
        rows = fetch(start, end, chunk)
        items_before = len(items)
        for row in rows:
            key = row[1]
            if key < start:  # below the common prefix that was just emitted
                continue
            if len(items) == limit:
                return Page(tuple(items), last.decode())
            last = _common_prefix(key, prefix, delimiter) if delimiter else b""
            if last:
                items.append(CommonPrefix(last.decode()))
                start = successor(last)
            else:
                items.append(parse_version(row))
                last = key
                start = key + b"\0"
        if len(rows) < chunk:
            break
        # Few items from many rows: keys are many below each prefix, so stay small and seek.
        is_sparse = (len(items) - items_before) * 4 < len(rows)
        chunk = FIRST_CHUNK if is_sparse else min(chunk * 2, MAX_CHUNK)
    return Page(tuple(items))


def _common_prefix(key: bytes, prefix: bytes, delimiter: bytes) -> bytes:
    """Return *key* up to and with the first delimiter after *prefix*; ``b""`` without one."""
    position = key.find(delimiter, len(prefix))
    return key[: position + len(delimiter)] if position >= 0 else b""
