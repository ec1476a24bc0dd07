"""Keeps secrets of module arguments out of answers, errors and logs."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

REDACTED: Final = "(redacted)"

_SECRET_NAME: Final = re.compile(
    r"secret|passw|passphrase|token|credential|private|(^|[_-])key($|[_-])|[a-z]key$|^auth", re.I
)
_HIDDEN: Final = frozenset({"keys"})
"""Not shown, though nothing in it need be a secret: where keys are is nobody's business."""

_NOT_SECRET: Final = frozenset({"key_domain", "key_id", "public_key"})
_URL_PASSWORD: Final = re.compile(r"(?<=://)([^/@\s:]*):([^/@\s]+)@")
_MIN_SCRUBBED: Final = 4  # shorter values occur in any text


def redact(value: Any, name: str = "") -> Any:
    """Return a copy of a JSON value in which every secret reads ``(redacted)``.

    A secret is whatever stands under a telling name (password, token, secret_key, ...), at any
    depth, and the password inside a URL. What stands under ``keys`` is hidden, too.
    """
    if (is_secret_name(name) or name in _HIDDEN) and value not in (None, "", [], {}):
        return REDACTED
    if isinstance(value, Mapping):
        return {key: redact(item, str(key)) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [redact(item) for item in value]
    if isinstance(value, str):
        return _URL_PASSWORD.sub(rf"\1:{REDACTED}@", value)
    return value


def scrub(text: str, args: Mapping[str, Any]) -> str:
    """Return *text*, such as a vendor's error, without any of the secrets in *args*."""
    for secret in sorted(_secrets(args, is_secret=False), key=len, reverse=True):
        if len(secret) >= _MIN_SCRUBBED:
            text = text.replace(secret, REDACTED)
    return text


def holds_redacted(value: Any) -> bool:
    """Tell whether a JSON value holds the placeholder that ``redact`` puts in."""
    if isinstance(value, Mapping):
        return any(holds_redacted(item) for item in value.values())
    if isinstance(value, list | tuple):
        return any(holds_redacted(item) for item in value)
    return isinstance(value, str) and REDACTED in value


def is_secret_name(name: str) -> bool:
    """Tell whether an argument of this name holds a secret."""
    return name.lower() not in _NOT_SECRET and _SECRET_NAME.search(name) is not None


def _secrets(value: Any, *, is_secret: bool) -> Iterator[str]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _secrets(item, is_secret=is_secret or is_secret_name(str(key)))
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _secrets(item, is_secret=is_secret)
    elif isinstance(value, str):
        if is_secret:
            yield value
        for match in _URL_PASSWORD.finditer(value):
            yield match.group(2)
