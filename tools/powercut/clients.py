"""What each client does, one step after the other: known in advance, so that it can be judged.

A client has one step under way at a time, and what it does next follows from the seed, its name
and what it has stored. So whatever a crash leaves of a client must be its state after *all* steps
up to some number: not less than the last acknowledged one.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, Self

State = dict[str, int]
"""Which step made each key (a container's ends in "/") that is there."""

MAX_SIZE_BYTES: Final = 2 * 1024 * 1024
_KEYS: Final = 6
_CONTAINERS: Final = 3
_BUCKETS: Final = 2
_ODD_SIZES: Final = (0, 1, 4096, 32768, 32769, 131072, 1024 * 1024 + 1)


class Action(StrEnum):
    """What a step asks the store to do; also the names of the methods of a Store."""

    PUT = "put"
    DELETE = "delete"
    CREATE_CONTAINER = "create_container"
    DELETE_CONTAINER = "delete_container"
    CREATE_BUCKET = "create_bucket"
    DELETE_BUCKET = "delete_bucket"


@dataclass(frozen=True, slots=True)
class Step:
    """One request; *number* counts a client's steps from 1."""

    number: int
    action: Action
    key: str


@dataclass(slots=True)
class Client:
    """A client and what it has stored.

    Attributes:
        name: its keys lie in the container of that name; "buckets..." makes buckets instead.
        number: of the last step that is done.
    """

    seed: str
    name: str
    number: int = 0
    state: State = field(default_factory=dict)

    @property
    def makes_buckets(self) -> bool:
        return self.name.startswith("buckets")

    def next_step(self) -> Step:
        """Return what the client does next."""
        number = self.number + 1
        rng = random.Random(f"{self.seed}/{self.name}/{number}")  # noqa: S311
        choose = self._bucket_step if self.makes_buckets else self._object_step
        return Step(number, *choose(rng, number))

    def done(self, step: Step) -> None:
        """Note that *step* is done."""
        self.number = step.number
        if step.action in (Action.PUT, Action.CREATE_CONTAINER, Action.CREATE_BUCKET):
            self.state[step.key] = step.number
        else:
            del self.state[step.key]

    def content(self, number: int) -> bytes:
        """Return what the put of that number stores."""
        label = f"{self.seed}/{self.name}/{number}"
        rng = random.Random(f"{label}/size")  # noqa: S311
        return hashlib.shake_256(label.encode()).digest(_size(rng))

    def to_dict(self) -> dict[str, Any]:
        return {
            "seed": self.seed,
            "name": self.name,
            "number": self.number,
            "state": dict(self.state),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        return cls(values["seed"], values["name"], values["number"], dict(values["state"]))

    def copy(self) -> Client:
        return Client(self.seed, self.name, self.number, dict(self.state))

    def _bucket_step(self, rng: random.Random, number: int) -> tuple[Action, str]:
        if len(self.state) < _BUCKETS:
            return Action.CREATE_BUCKET, f"{self.name}-{number}"
        return Action.DELETE_BUCKET, rng.choice(sorted(self.state))

    def _object_step(self, rng: random.Random, number: int) -> tuple[Action, str]:
        own = f"{self.name}/"
        if own not in self.state:
            return Action.CREATE_CONTAINER, own
        containers = [f"{own}c{n}/" for n in range(_CONTAINERS)]
        present = [key for key in containers if key in self.state]
        empty = [c for c in present if not any(k != c and k.startswith(c) for k in self.state)]
        objects = sorted(key for key in self.state if not key.endswith("/"))
        choice = rng.random()
        if choice < 0.08 and len(present) < _CONTAINERS:
            return Action.CREATE_CONTAINER, rng.choice([c for c in containers if c not in present])
        if choice < 0.14 and empty:
            return Action.DELETE_CONTAINER, rng.choice(empty)
        if choice < 0.32 and objects:
            return Action.DELETE, rng.choice(objects)
        return Action.PUT, f"{rng.choice([own, own, *present])}k{rng.randrange(_KEYS)}"


def _size(rng: random.Random) -> int:
    choice = rng.random()
    if choice < 0.15:
        return rng.choice(_ODD_SIZES)
    limits = ((0.5, 200), (0.8, 20_000), (0.95, 200_000), (1.0, MAX_SIZE_BYTES))
    return rng.randint(1, next(limit for share, limit in limits if choice <= share))
