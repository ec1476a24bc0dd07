"""A rule: one sentence of the contract, with a stable id and one test method."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

_Function = TypeVar("_Function", bound=Callable[..., None])


@dataclass(frozen=True, slots=True)
class Rule:
    """One sentence of the contract.

    Attributes:
        id: stable, such as ``put.truncated-stream``; never reused for something else.
        title: what must hold, one clause.
        method: name of the test method that proves it.
    """

    id: str
    title: str
    method: str


def rule(rule_id: str, title: str) -> Callable[[_Function], _Function]:
    """Mark a test method as the proof of a rule."""

    def mark(function: _Function) -> _Function:
        name = function.__name__
        function.__dict__["rule"] = Rule(rule_id, title, name)
        function.__doc__ = function.__doc__ or f"{rule_id}: {title}"
        return function

    return mark


def rules_of(suite: type) -> list[Rule]:
    """Return the rules of a suite class in the order in which its parts define them."""
    found: dict[str, Rule] = {}
    for part in reversed(suite.__mro__):
        for function in vars(part).values():
            marked = getattr(function, "rule", None)
            if isinstance(marked, Rule):
                found[marked.id] = marked
    return list(found.values())
