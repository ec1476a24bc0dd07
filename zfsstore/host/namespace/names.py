"""The rules for names, in one place: buckets, keys and prefixes.

Keys are compared and stored as UTF-8 bytes, without normalisation, so their order is byte order.
A front end may allow less (CDMI: no empty component); it never allows more.
"""

from __future__ import annotations

from typing import Final

from modules.errors import InvalidName

MAX_KEY_BYTES: Final = 1024
MAX_BUCKET_BYTES: Final = 255
RESERVED_PREFIX: Final = "cdmi_"


def check_bucket(name: str) -> str:
    """Return *name* if a bucket may be called so.

    1 to 255 bytes of UTF-8; no control character, no slash; neither "." nor ".."; not starting
    with "cdmi_".

    Raises:
        InvalidName: which rule it breaks.

    Source: CDMI 2.0, reserved names; S3 allows a subset of these.
    """
    encoded = _encode(name, "bucket")
    reason = None
    if not encoded:
        reason = "a bucket's name may not be empty"
    elif len(encoded) > MAX_BUCKET_BYTES:
        reason = f"it has {len(encoded)} bytes of UTF-8, at most {MAX_BUCKET_BYTES} are allowed"
    elif "/" in name:
        reason = "a bucket's name may not contain a slash"
    elif any(ord(character) < 32 or ord(character) == 127 for character in name):
        reason = "a bucket's name may not contain control characters"
    elif name in (".", ".."):
        reason = "this name is reserved"
    elif name.startswith(RESERVED_PREFIX):
        reason = f"names that start with {RESERVED_PREFIX} are reserved"
    if reason is not None:
        raise InvalidName(reason, subject=f"bucket {name[:80]!r}", field="bucket")
    return name


def check_tenant(name: str) -> str:
    """Return *name* if a tenant of that name can hold buckets ("tenant/bucket" must be clear).

    Raises:
        InvalidName: empty, or contains a slash or NUL.
    """
    _encode(name, "tenant")
    if not name or "/" in name or "\0" in name:
        raise InvalidName(
            "a tenant's name may not be empty, nor contain a slash or NUL",
            subject=f"tenant {name[:80]!r}",
            field="tenant",
        )
    return name


def encode_key(key: str) -> bytes:
    """Return *key* as it is stored: 1 to 1024 bytes of UTF-8 without NUL.

    Raises:
        InvalidName: which rule it breaks.
    """
    encoded = encode_prefix(key, field="key")
    if not encoded:
        raise InvalidName("a key may not be empty", field="key")
    if len(encoded) > MAX_KEY_BYTES:
        raise InvalidName(
            f"it has {len(encoded)} bytes of UTF-8, at most {MAX_KEY_BYTES} are allowed",
            subject=f"key {key[:80]!r}",
            field="key",
        )
    return encoded


def encode_prefix(prefix: str, *, field: str = "prefix") -> bytes:
    """Return the beginning of a key as bytes; any length, since no match is an answer too.

    Raises:
        InvalidName: it is no UTF-8 or contains NUL.
    """
    encoded = _encode(prefix, field)
    if b"\0" in encoded:
        raise InvalidName(
            "it contains a NUL character", subject=f"{field} {prefix[:80]!r}", field=field
        )
    return encoded


def parent_of(key: bytes) -> bytes:
    """Return the key of the container that *key* lies in, ``b""`` for the bucket itself."""
    return key[: key.rstrip(b"/").rfind(b"/") + 1]


def successor(prefix: bytes) -> bytes:
    """Return the least byte string above everything that starts with *prefix*.

    UTF-8 has no byte 0xff, so the last byte can always be raised by one.
    """
    return prefix[:-1] + bytes([prefix[-1] + 1]) if prefix else b"\xff"


def _encode(text: str, field: str) -> bytes:
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise InvalidName(
            "it is no valid UTF-8", subject=f"{field} {text[:80]!r}", field=field
        ) from error
