"""Keeping only some paths of a directory tree.

Source of the pattern rules: gitignore(5), without negation.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
from collections.abc import Iterable
from typing import Final

from modules.errors import InvalidArgument

_SNAPSHOTS: Final = ".zfs"


class PathFilter:
    """Says which paths to keep, relative to a root and with "/" between components.

    A pattern without "/" matches a name at any depth, one with "/" the path from the root. ``*``
    and ``?`` match anything but "/", ``**`` matches that too, ``[a-z]`` one character of several.
    What matches includes all below it; *exclude* wins over *include*.

    Args:
        include: what to keep; everything when empty.
        exclude: what not to keep.

    Raises:
        InvalidArgument: a pattern is empty, or leads out of the root.
    """

    def __init__(self, include: Iterable[str] = (), exclude: Iterable[str] = ()) -> None:
        self._include = _compiled(include, "include")
        self._exclude = _compiled(exclude, "exclude")

    def is_included(self, path: str) -> bool:
        """Return whether *path* itself is to be kept, unless it is excluded."""
        return not self._include or any(pattern.fullmatch(path) for pattern in self._include)

    def is_excluded(self, path: str) -> bool:
        """Return whether *path* itself, with all below it, is not to be kept."""
        return any(pattern.fullmatch(path) for pattern in self._exclude)

    def apply(self, root: str) -> int:
        """Remove what is not to be kept from the tree *root*, and return how many names went.

        Symbolic links are removed or kept, never followed. Directories that hold nothing to keep
        go, too.

        Raises:
            OSError: as the file system gave it; part of the tree may be gone.
        """
        fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            return self._prune(fd, "", is_included=self.is_included(""))[0]
        finally:
            os.close(fd)

    def _prune(self, directory: int, prefix: str, *, is_included: bool) -> tuple[int, bool]:
        """Return how many names were removed below a directory, and whether any are left."""
        removed, has_more = 0, False
        for name in sorted(os.listdir(directory)):
            path = prefix + name
            if path == _SNAPSHOTS:
                continue
            is_directory = _is_directory(directory, name)
            if self.is_excluded(path):
                _remove(directory, name, is_directory)
                removed += 1
                continue
            wanted = is_included or self.is_included(path)
            keep = wanted
            if is_directory:
                count, is_filled = self._descend(directory, name, f"{path}/", is_included=wanted)
                removed += count
                keep = wanted or is_filled
            if not keep:
                _remove(directory, name, is_directory)
                removed += 1
            has_more |= keep
        return removed, has_more

    def _descend(
        self, parent: int, name: str, prefix: str, *, is_included: bool
    ) -> tuple[int, bool]:
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(name, flags, dir_fd=parent)
        try:
            return self._prune(fd, prefix, is_included=is_included)
        finally:
            os.close(fd)


def _is_directory(directory: int, name: str) -> bool:
    mode = os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode
    return stat.S_ISDIR(mode)


def _remove(directory: int, name: str, is_directory: bool) -> None:
    if is_directory:
        shutil.rmtree(name, dir_fd=directory)
    else:
        os.unlink(name, dir_fd=directory)


def _compiled(patterns: Iterable[str], field: str) -> tuple[re.Pattern[str], ...]:
    given = [patterns] if isinstance(patterns, str) else list(patterns)
    return tuple(_pattern(pattern, field) for pattern in given)


def _pattern(pattern: str, field: str) -> re.Pattern[str]:
    body = pattern.strip("/") if isinstance(pattern, str) else ""
    if not body or "\0" in body or ".." in body.split("/"):
        raise InvalidArgument(f"{pattern!r:.200} is no pattern of a path below it", field=field)
    start = "" if "/" in pattern.rstrip("/") else "(?:.*/)?"
    return re.compile(start + _translated(body, field), re.DOTALL)


def _translated(body: str, field: str) -> str:
    parts = []
    for piece in re.findall(r"\*\*/|\*\*|\*|\?|\[!?\]?[^\]]*\]|.", body, re.DOTALL):
        if piece == "**/":
            parts.append("(?:.*/)?")
        elif piece == "**":
            parts.append(".*")
        elif piece == "*":
            parts.append("[^/]*")
        elif piece == "?":
            parts.append("[^/]")
        elif len(piece) > 1:
            parts.append(_class(piece[1:-1], field))
        else:
            parts.append(re.escape(piece))
    return "".join(parts)


def _class(members: str, field: str) -> str:
    negation, members = ("^/", members[1:]) if members.startswith("!") else ("", members)
    escaped = re.sub(r"([\\\]\[^&~|])", r"\\\1", members)
    try:
        re.compile(f"[{negation}{escaped}]")
    except re.error:
        raise InvalidArgument(f"[{members}] is no set of characters", field=field) from None
    return f"(?!/)[{negation}{escaped}]"
