"""Every order in which two puts, a delete, a collector, expiring leases and crashes can meet.

The steps are those of the index, each a transaction or a look at memory, in the order that
modules.wrappers.dedup takes them; the objects are a recipe node over one chunk. Explored is
everything that can follow (a crash is a put that takes no further step). In no state may an
acknowledged object be unreadable, and no put may fail whose session is there. Each guard is then
left out, and the model must find the harm: else it would prove nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest

CHUNK, NODE = "chunk", "node"


@dataclass(frozen=True)
class Row:
    refs: int
    epoch: int


@dataclass(frozen=True)
class Put:
    """A put of the one object; step counts what it has done.

    Attributes:
        new: what it found missing and must store.
        seen: what its look, outside of a transaction, found: unneeded chunks are touched next.
    """

    step: int = 0
    start: int = 0
    new: frozenset[str] = frozenset()
    is_done: bool = False


@dataclass(frozen=True)
class World:
    epoch: int = 1
    chunk: Row | None = None
    node: Row | None = None
    sessions: frozenset[tuple[int, int]] = frozenset()  # put, start epoch
    objects: frozenset[str] = frozenset()
    puts: tuple[Put, ...] = (Put(), Put())
    deletes: int = 1
    expiries: int = 2
    has_failed: bool = False  # a put failed that had its session

    @property
    def is_harmed(self) -> bool:
        """Whether something acknowledged cannot be read, or a put failed for no reason."""
        is_lost = bool(self.objects) and (self.chunk is None or self.node is None)
        return is_lost or self.has_failed

    def row(self, name: str) -> Row | None:
        return self.chunk if name == CHUNK else self.node

    def with_row(self, name: str, row: Row | None) -> World:
        return replace(self, chunk=row) if name == CHUNK else replace(self, node=row)

    def with_put(self, number: int, put: Put) -> World:
        puts = (*self.puts[:number], put, *self.puts[number + 1 :])
        return replace(self, puts=puts)


@dataclass(frozen=True)
class Rules:
    touches: bool = True  # (2), (5): who uses an unneeded chunk sets its epoch
    checks_session: bool = True  # (6)
    checks_root: bool = True  # (6)
    has_limit: bool = True  # the collector spares what became unneeded after a put began
    checks_children: bool = True  # (5): a node is recorded only with its children


ALL = Rules()
STORED = World(chunk=Row(1, 1), node=Row(1, 1), objects=frozenset({"object"}), deletes=2)


def following(world: World, rules: Rules) -> Iterator[World]:
    """Yield what can come next."""
    for number, put in enumerate(world.puts):
        if not put.is_done:
            yield from put_steps(world, number, put, rules)
    if world.deletes and world.objects:
        yield delete(world)
    if world.expiries and world.sessions:
        for session in world.sessions:
            left = world.expiries - 1
            yield replace(world, expiries=left, sessions=world.sessions - {session})
    yield from collections(world, rules)


def put_steps(world: World, number: int, put: Put, rules: Rules) -> Iterator[World]:
    after = replace(put, step=put.step + 1)
    match put.step:
        case 0:
            epoch = world.epoch + 1
            begun = replace(world, epoch=epoch, sessions=world.sessions | {(number, epoch)})
            yield begun.with_put(number, replace(after, start=epoch))
        case 1 | 3:  # look up chunk, node: outside of a transaction
            name = CHUNK if put.step == 1 else NODE
            row = world.row(name)
            if row is None:
                yield world.with_put(number, replace(after, new=put.new | {name}))
            elif row.refs:
                yield world.with_put(number, replace(after, step=put.step + 2))
            else:
                yield world.with_put(number, after)
        case 2 | 4:  # touch what is unneeded, or found it gone
            name = CHUNK if put.step == 2 else NODE
            row = world.row(name)
            if name in put.new:
                yield world.with_put(number, after)
            elif row is None:
                yield world.with_put(number, replace(after, new=put.new | {name}))
            else:
                touched = touch(world, name, row, rules.touches)
                yield touched.with_put(number, after)
        case 5:
            yield record(world, put, rules).with_put(number, after)
        case 6:
            yield finish(world, number, put, rules)


def touch(world: World, name: str, row: Row, is_done: bool) -> World:
    if not is_done or row.refs:
        return world
    return world.with_row(name, replace(row, epoch=world.epoch))


def record(world: World, put: Put, rules: Rules) -> World:
    """(5) The pack is durable; its blobs get rows, the node counts its child."""
    for name in (CHUNK, NODE):
        if name not in put.new:
            continue
        row = world.row(name)
        if row is not None:
            world = touch(world, name, row, rules.touches)
        elif name == CHUNK:
            world = world.with_row(name, Row(0, world.epoch))
        elif world.chunk is not None:
            child = replace(world.chunk, refs=world.chunk.refs + 1)
            world = replace(world, chunk=child, node=Row(0, world.epoch))
        elif not rules.checks_children:
            world = replace(world, node=Row(0, world.epoch))
    return world


def finish(world: World, number: int, put: Put, rules: Rules) -> World:
    """(6) and (7)."""
    done = replace(put, is_done=True)
    session = (number, put.start)
    failed = replace(world, sessions=world.sessions - {session}).with_put(number, done)
    has_session = session in world.sessions
    if rules.checks_session and not has_session:
        return failed
    if world.node is None:
        if rules.checks_root:
            return replace(failed, has_failed=has_session)
        return replace(failed, objects=world.objects | {f"object {number}"})
    node = replace(world.node, refs=world.node.refs + 1)
    return replace(failed, node=node, objects=world.objects | {f"object {number}"})


def delete(world: World) -> World:
    name = min(world.objects)
    world = replace(world, deletes=world.deletes - 1, objects=world.objects - {name})
    return unrefer(world, NODE)


def unrefer(world: World, name: str) -> World:
    row = world.row(name)
    if row is None:
        return world
    epoch = world.epoch + 1
    refs = max(0, row.refs - 1)
    changed = Row(refs, epoch if not refs else row.epoch)
    return replace(world, epoch=epoch).with_row(name, changed)


def collections(world: World, rules: Rules) -> Iterator[World]:
    limit = min((start for _, start in world.sessions), default=10**9)
    if not rules.has_limit:
        limit = 10**9
    for name in (NODE, CHUNK):
        row = world.row(name)
        if row is not None and not row.refs and row.epoch < limit:
            swept = world.with_row(name, None)
            yield unrefer(swept, CHUNK) if name == NODE else swept


def explore(rules: Rules, *worlds: World) -> set[World]:
    """Return all states, or those up to the first harm."""
    todo, seen = list(worlds or (World(), STORED)), set[World]()
    while todo:
        world = todo.pop()
        if world not in seen:
            seen.add(world)
            if world.is_harmed:
                break
            todo += following(world, rules)
    return seen


@pytest.mark.parametrize(
    ("worlds", "least"),
    [
        ([replace(STORED, puts=(Put(),)), World(expiries=1)], 1_000),
        pytest.param([], 10_000, marks=pytest.mark.slow),
    ],
    ids=["some", "all"],
)
def test_nothing_that_was_acknowledged_is_ever_unreadable(worlds: list[World], least: int) -> None:
    states = explore(ALL, *worlds)
    assert len(states) > least
    assert not any(world.is_harmed for world in states)
    for world in states:  # and references are exact
        if world.node is not None:
            assert len(world.objects) == world.node.refs
        if world.chunk is not None:
            assert (world.node is not None) == bool(world.chunk.refs)


@pytest.mark.parametrize(
    "broken",
    [
        replace(ALL, touches=False),
        replace(ALL, has_limit=False),
        replace(ALL, checks_children=False),
        replace(ALL, checks_session=False, checks_root=False),
    ],
    ids=["touch", "limit", "children", "session and root"],
)
def test_without_a_guard_there_is_harm(broken: Rules) -> None:
    assert any(world.is_harmed for world in explore(broken))
