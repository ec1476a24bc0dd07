"""module_data that no module can have returned, and forgeries that aim at a file outside."""

from __future__ import annotations

import json
import re
from typing import Any, Final

MALFORMED: Final = (
    "",
    " ",
    ".",
    "/",
    "\0",
    "\n",
    "no such object",
    "no\0such",
    "no\nsuch",
    "%2e%2e%2f",
    "*",
    "~",
    "-rf",
    "{}",
    "[]",
    "null",
    '{"id": null}',
    '{"id": {"id": "x"}}',
    "{" * 100,
    "Grüße-名前-\U0001f5c4",
    "\ud800",
    "\u202e\u200b",
    "x" * 300,
    "x" * 100_000,
    "a/" * 3_000,
)
"""Strings that are no module_data: control characters, other syntax, too long, not encodable."""


def corrupted(module_data: str) -> list[str]:
    """Return strings that look like *module_data* but differ at an end."""
    return [f"{module_data}\n", f"{module_data}\0", f" {module_data}", f"{module_data}/"]


def forgeries(module_data: str, target: str) -> list[str]:
    """Return strings that reach the file *target*, if a path is built from them unchecked.

    Args:
        module_data: one that the module returned; its parts are replaced one by one.
        target: absolute path of a file outside the store.
    """
    up = "../" * 20 + target.lstrip("/")
    forged = [target, up, f"./{up}", f"{module_data}/{up}", f"x/{up}", f"file://{target}"]
    for payload in (up, target):
        forged += [f"{payload}\0", *_replaced_parts(module_data, payload)]
    return sorted(set(forged))


def _replaced_parts(module_data: str, payload: str) -> list[str]:
    """Return *module_data* with each of its parts replaced: JSON texts, or between separators."""
    try:
        value = json.loads(module_data)
    except ValueError:
        parts = re.split(r"([:|,;@#/])", module_data)
        return ["".join([*parts[:i], payload, *parts[i + 1 :]]) for i in range(0, len(parts), 2)]
    return [json.dumps(changed) for changed in _replaced_texts(value, payload)]


def _replaced_texts(value: Any, payload: str) -> list[Any]:
    if isinstance(value, str):
        return [payload]
    if isinstance(value, list):
        items: list[tuple[Any, Any]] = list(enumerate(value))
    elif isinstance(value, dict):
        items = list(value.items())
    else:
        return []
    changed = []
    for key, item in items:
        for replacement in _replaced_texts(item, payload):
            copy = value.copy()
            copy[key] = replacement
            changed.append(copy)
    return changed
