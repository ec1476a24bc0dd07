"""The words of an argv, taken from left to right."""

from __future__ import annotations

from collections.abc import Sequence

from modules.errors import InvalidArgument
from zfsstore.zfs.properties import check_properties


class Words:
    """What follows the command, taken from left to right."""

    def __init__(self, words: Sequence[str]) -> None:
        self._words = list(words)

    def flag(self, *spellings: str) -> str | None:
        """Take the next word when it is one of *spellings*."""
        if self._words and self._words[0] in spellings:
            return self._words.pop(0)
        return None

    def has(self, spelling: str) -> bool:
        return self.flag(spelling) is not None

    def value(self, *spellings: str) -> str | None:
        """Take the next two words when the first is one of *spellings*; return the second."""
        return self.word() if self.flag(*spellings) is not None else None

    def values(self, spelling: str) -> list[str]:
        found = []
        while (value := self.value(spelling)) is not None:
            found.append(value)
        return found

    def properties(self) -> dict[str, str]:
        """Take every ``-o name=value``."""
        return pairs(self.values("-o"))

    def word(self) -> str:
        if not self._words:
            raise malformed("a word is missing")
        return self._words.pop(0)

    def rest(self) -> tuple[str, ...]:
        taken, self._words = tuple(self._words), []
        if not taken:
            raise malformed("a name is missing")
        return taken


def pairs(words: Sequence[str]) -> dict[str, str]:
    """Return the properties of ``name=value`` words, checked by the rules of ZFS."""
    properties = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals:
            raise malformed("a property has no value")
        properties[name] = value
    check_properties(properties)
    return properties


def malformed(reason: str) -> InvalidArgument:
    """Return the error for an argv that is not as our client writes it."""
    return InvalidArgument(reason, field="argv")
