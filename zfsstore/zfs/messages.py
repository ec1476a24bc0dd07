"""What a failed command said, without its usage and the names in it."""

from __future__ import annotations

import re
from typing import Final

_QUOTED: Final = re.compile(r"(?<![A-Za-z])'[^'\n]*'")  # not the apostrophe of "it's being held"


class Said:
    """Attributes: *reason*, its first line; *text*, all of it with '' for each quoted name."""

    def __init__(self, stderr: str, exit_code: int | None) -> None:
        told = _without_usage(stderr)
        lines = [line.strip() for line in told.splitlines() if line.strip()]
        self.reason = lines[0] if lines else _silent(exit_code)
        self.text = _QUOTED.sub("''", told)


def _silent(exit_code: int | None) -> str:
    if exit_code is not None and exit_code < 0:
        return f"signal {-exit_code} killed the command"
    return "the command failed without a message"


def _without_usage(stderr: str) -> str:
    """Return what is said before the usage, or after it as ``zfs allow`` does."""
    before, found, after = re.sub("(?m)^Usage:", "usage:", stderr).partition("usage:")
    if before.strip() or not found:
        return before
    told = [line for line in after.splitlines() if "error:" in line]
    return "\n".join(line.partition("error:")[2].strip() for line in told)
