"""Rules about many callers at once, and about a life of many operations."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from modules.conformance.base import SuiteBase
from modules.conformance.observe import open_descriptors, traced_memory
from modules.conformance.payload import Source, first_difference, pattern, read_exactly
from modules.conformance.rule import rule
from modules.conformance.worker import Worker

_SIZE: Final = 4096
_ROUNDS: Final = 4
_DEADLINE_S: Final = 120
_OPERATIONS_PER_ROUND: Final = 5
_GROWTH_PER_ROUND: Final = 64
"""Bytes; a module that remembers one short string for each object exceeds it."""


@dataclass(frozen=True, slots=True)
class Growth:
    """How much grew in the first and in the second half of many operations.

    What grows in both halves goes on growing; what grows in one is a cache that filled.
    """

    rounds: int
    descriptors: tuple[int, int] | None
    memory_bytes: tuple[int, int]


class ParallelRules(SuiteBase):
    """Threads, processes, and no growth."""

    growth: Growth | None = None

    @rule("threads.parallel", "one instance serves many threads at once")
    def test_threads_parallel(self) -> None:
        failures: list[str] = []
        barrier = threading.Barrier(self.scale.threads)
        threads = [
            threading.Thread(target=self._thread, args=(number, barrier, failures), daemon=True)
            for number in range(self.scale.threads)
        ]
        deadline = time.monotonic() + _DEADLINE_S
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(max(deadline - time.monotonic(), 0))
        stuck = sum(thread.is_alive() for thread in threads)
        self.require(not stuck, f"{stuck} threads are stuck after {_DEADLINE_S} s; a deadlock?")
        self.require(
            not failures, f"{len(failures)} of {self.scale.threads} threads failed: {failures[:1]}"
        )

    def _thread(self, number: int, barrier: threading.Barrier, failures: list[str]) -> None:
        module, context = self.store.module, self.store.context(content_length=_SIZE)
        try:
            for turn in range(_ROUNDS):
                barrier.wait()
                seed = f"thread {number} {turn}"
                module_data = self.store.remember(module.put(context, Source(seed, _SIZE)))
                with contextlib.closing(module.get_read_stream(context, module_data)) as stream:
                    found = read_exactly(stream, _SIZE + 1)
                if found != (expected := pattern(seed, _SIZE)):
                    raise AssertionError(f"{module_data!r}: {first_difference(expected, found)}")
                module.statistics(context)
                self.store.delete(module_data)
        except threading.BrokenBarrierError:
            return
        except Exception as error:  # reported by the rule, for all threads together
            failures.append(f"{type(error).__name__}: {error}")
            barrier.abort()

    @rule("processes.parallel", "processes share the store, each with an instance of its own")
    def test_processes_parallel(self) -> None:
        mine = [(self.put(f"parent {number}", _SIZE), f"parent {number}") for number in range(2)]
        context = self.store.context_data()
        with contextlib.ExitStack() as stack:
            workers = []
            for _ in range(self.scale.processes):
                workers.append(Worker(self.store.spec, context))
                stack.callback(workers[-1].close)
            for worker in workers:
                worker.receive()  # all are ready
            seeds = [
                [f"process {number} {turn}" for turn in range(_ROUNDS)]
                for number in range(len(workers))
            ]
            stored = self._all(
                workers, [{"do": "put", "seeds": own, "size": _SIZE} for own in seeds]
            )
            objects = [
                [(self.store.remember(data), seed) for data, seed in zip(made, own, strict=True)]
                for made, own in zip(stored, seeds, strict=True)
            ]
            self._check_here([pair for own in objects for pair in own])
            neighbours = [*objects[1:], objects[0]]
            self._all(
                workers,
                [
                    {"do": "check", "objects": [*mine, *pairs], "size": _SIZE}
                    for pairs in neighbours
                ],
            )
            names = [[module_data for module_data, _ in pairs] for pairs in neighbours]
            self._all(workers, [{"do": "delete", "objects": own} for own in names])
            self._check_gone([name for own in names for name in own])

    def _all(self, workers: Sequence[Worker], requests: Sequence[dict[str, Any]]) -> list[Any]:
        """Ask every worker something at the same time and return all answers."""
        for worker, request in zip(workers, requests, strict=True):
            worker.send(request)
        return [worker.receive() for worker in workers]

    def _check_here(self, objects: Sequence[tuple[str, str]]) -> None:
        for module_data, seed in objects:
            found = read_exactly(self.get(module_data), _SIZE + 1)
            self.require(
                found == pattern(seed, _SIZE),
                f"an object of another process: {first_difference(pattern(seed, _SIZE), found)}",
            )

    def _check_gone(self, names: Sequence[str]) -> None:
        for module_data in names:
            self.require(
                not self.store.module.available(self.store.context(), module_data),
                "an object that another process deleted is still available",
            )

    @rule("growth.descriptors", "a thousand operations leave no descriptor open")
    def test_growth_descriptors(self) -> None:
        growth = self._grow()
        if growth.descriptors is None:
            self.skipTest("this system does not tell how many descriptors are open")
        leaked = min(growth.descriptors)
        self.require(
            leaked < 2,
            f"in {growth.rounds * _OPERATIONS_PER_ROUND} operations {sum(growth.descriptors)} "
            "descriptors were left open; close what is opened, on errors too",
        )

    @rule("growth.memory", "a thousand operations leave no memory allocated")
    def test_growth_memory(self) -> None:
        growth = self._grow()
        limit = growth.rounds // 2 * _GROWTH_PER_ROUND
        self.require(
            min(growth.memory_bytes) <= limit,
            f"in {growth.rounds * _OPERATIONS_PER_ROUND} operations, that deleted what they put, "
            f"{sum(growth.memory_bytes)} bytes stayed allocated: an instance lives for months",
        )

    def _grow(self) -> Growth:
        """Return what grew; measured once for both rules."""
        suite = type(self)
        if suite.growth is None:
            suite.growth = self._measure(max(self.scale.operations // _OPERATIONS_PER_ROUND, 20))
        return suite.growth

    def _measure(self, rounds: int) -> Growth:
        half = rounds // 2
        with traced_memory() as memory:
            for number in range(20):  # until caches and buffers are filled
                self._round(number)
            states = [(open_descriptors(), memory.current_bytes)]
            for _ in range(2):
                for number in range(half):
                    self._round(number)
                states.append((open_descriptors(), memory.current_bytes))
        (fd0, mem0), (fd1, mem1), (fd2, mem2) = states
        descriptors = None
        if fd0 is not None and fd1 is not None and fd2 is not None:
            descriptors = (fd1 - fd0, fd2 - fd1)
        return Growth(half * 2, descriptors, (mem1 - mem0, mem2 - mem1))

    def _round(self, number: int) -> None:
        """Put, look, read, describe, delete; and now and then fail."""
        module, context = self.store.module, self.store.context()
        module_data = module.put(context, Source("growth", _SIZE))
        module.available(context, module_data)
        with contextlib.closing(module.get_read_stream(context, module_data)) as stream:
            stream.read(100)
        module.statistics(context)
        module.delete(context, module_data)
        if number % 5 == 0:
            with contextlib.suppress(Exception):  # get.absent has it
                module.get_read_stream(context, module_data).close()
            with contextlib.suppress(Exception):
                module.put(context, Source("growth", _SIZE, fail_at=_SIZE // 2))
