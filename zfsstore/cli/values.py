"""Argument types: sizes, ages and JSON, each refused with a sentence that says what fits."""

from __future__ import annotations

import argparse
import json
import re
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

_SIZE: Final = re.compile(r"(\d+)\s*(?:([KMGTPE])(i?)B?|B)?", re.IGNORECASE)
_AGE: Final = re.compile(r"(\d+)([smhdw])")
_AGE_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def parse_size(text: str) -> int:
    """Return bytes from ``500``, ``10GiB``, ``10G`` (both 1024-based) or ``10GB`` (1000-based)."""
    match = _SIZE.fullmatch(text.strip())
    if not match:
        raise argparse.ArgumentTypeError(f"{text!r} is no size; write 500, 10GiB, 10G or 10GB")
    number, unit, binary = int(match[1]), match[2], match[3]
    if unit is None:
        return number
    base = 1000 if not binary and text.strip().upper().endswith("B") else 1024
    return number * int(base ** ("KMGTPE".index(unit.upper()) + 1))


def parse_quota(text: str) -> int | None:
    """Return bytes, or None for ``none``."""
    return None if text.lower() == "none" else parse_size(text)


def parse_age(text: str) -> timedelta:
    """Return a span from ``90s``, ``30m``, ``24h``, ``7d`` or ``2w``."""
    match = _AGE.fullmatch(text.strip())
    if not match:
        raise argparse.ArgumentTypeError(f"{text!r} is no age; write 30m, 24h or 7d")
    try:
        return timedelta(**{_AGE_UNITS[match[2]]: int(match[1])})
    except OverflowError:
        raise argparse.ArgumentTypeError(f"{text!r} is too long ago") from None


def parse_json_object(text: str) -> dict[str, Any]:
    """Return a JSON object from the text itself, from ``@FILE``, or from standard input (``-``).

    A file or standard input keeps secrets out of the list of processes.
    """
    source = "the argument"
    if text == "-":
        text, source = sys.stdin.read(), "standard input"
    elif text.startswith("@"):
        source = text[1:]
        try:
            text = Path(source).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise argparse.ArgumentTypeError(f"cannot read {source}: {error}") from None
    try:
        value = json.loads(text, parse_constant=_no_constant)
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{source} is no JSON: {error}") from None
    except RecursionError:
        raise argparse.ArgumentTypeError(f"{source} is nested too deeply") from None
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError(f"{source} is no JSON object; write '{{\"name\": ...}}'")
    return value


def _no_constant(name: str) -> Any:
    raise ValueError(f"it has {name}")
