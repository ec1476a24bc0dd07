"""Part five, on ZFS: snapshots of many buckets and clones of large ones, against bare zfs.

Everything happens below a dataset of its own. The buckets are filled with sync=disabled, and
measured as they are used, with what was inherited.
"""

from __future__ import annotations

import secrets
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from bench.data import Pool
from bench.measure import paired_ratio
from bench.report import format_rows
from bench.settings import Settings
from bench.volume_fill import fill
from zfsstore import ZFSStorage
from zfsstore.volumes.zfs import ZfsVolumes
from zfsstore.zfs.runner import LocalRunner, RunResult

TENANT: Final = "bench"
Action = Callable[[int], None]
Command = tuple[str, float]
"""What zfs was asked to do, and the seconds it took."""


class TimingRunner:
    """Runs commands on this machine; ``taken`` is what it ran since it was emptied."""

    def __init__(self) -> None:
        self.taken: list[Command] = []
        self._run = LocalRunner()

    def __call__(self, argv: Sequence[str]) -> RunResult:
        start = time.perf_counter()
        result = self._run(argv)
        self.taken.append((" ".join(argv[:2]), time.perf_counter() - start))
        return result

    def zfs(self, *arguments: str) -> None:
        """Run zfs.

        Raises:
            RuntimeError: it failed.
        """
        result = self(["zfs", *arguments])
        if not result["success"]:
            raise RuntimeError(f"zfs {' '.join(arguments[:3])}: {result.get('stderr', '').strip()}")


@dataclass(slots=True)
class Timed:
    """What one subject did, round by round: seconds, and the commands among them."""

    seconds: list[float] = field(default_factory=list)
    commands: list[list[Command]] = field(default_factory=list)

    @property
    def processes(self) -> int:
        """The most that a round started."""
        return max(map(len, self.commands))

    def steps(self) -> list[tuple[str, float]]:
        """Return each command with its median seconds, and what was spent beside them."""
        steps = [
            (taken[0][0], statistics.median(seconds for _what, seconds in taken))
            for taken in zip(*self.commands, strict=True)
        ]
        beside = [
            whole - sum(seconds for _what, seconds in commands)
            for whole, commands in zip(self.seconds, self.commands, strict=True)
        ]
        return [*steps, ("beside zfs", statistics.median(beside))]

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {"seconds": self.seconds, "processes": self.processes, "steps": self.steps()}


def measure_volumes(settings: Settings, say: Callable[[str], None]) -> dict[str, Any]:
    """Measure snapshots and clones and return all numbers; tell people through *say*.

    Raises:
        RuntimeError: zfs refused.
    """
    buckets = 5 if settings.is_quick else 50
    sizes = (10, 1000) if settings.is_quick else (100, 100_000)
    runner = TimingRunner()
    with _own_dataset(f"{settings.dataset}/bench-{secrets.token_hex(4)}", runner) as dataset:
        store = ZFSStorage(dataset=dataset, runner=runner)
        store.volumes.create_volume(TENANT)
        snapshots = _measure_snapshots(store, dataset, runner, buckets, settings.rounds)
        say(format_snapshots(buckets, snapshots))
        clones = _measure_clones(store, dataset, runner, sizes, settings.rounds)
        say(format_clones(sizes, clones))
        say(format_steps(buckets, snapshots["zfsstore"], sizes, clones))
    return {
        "buckets": buckets,
        "snapshots": {name: timed.to_dict() for name, timed in snapshots.items()},
        "objects": list(sizes),
        "clones": {name: timed.to_dict() for name, timed in clones.items()},
    }


@contextmanager
def _own_dataset(dataset: str, runner: TimingRunner) -> Iterator[str]:
    runner.zfs("create", dataset)
    try:
        yield dataset
    finally:
        runner.zfs("destroy", "-r", "-f", dataset)


def _measure_snapshots(
    store: ZFSStorage, dataset: str, runner: TimingRunner, buckets: int, rounds: int
) -> dict[str, Timed]:
    volumes = _volumes(store)
    names = [f"{TENANT}/b{number:02}" for number in range(buckets)]
    uuids = [volumes.create_volume(name)["uuid"] for name in names]

    def bare(number: int) -> None:
        runner.zfs("snapshot", *(f"{dataset}/{name}@{number}" for name in names))

    def through_store(number: int) -> None:
        if len(volumes.create_snapshots(uuids, str(number))) != buckets:
            raise AssertionError("not every bucket has a snapshot")

    def remove(number: int) -> None:
        runner.zfs("destroy", "-r", f"{dataset}/{TENANT}@{number}")

    return _timed({"zfs snapshot": bare, "zfsstore": through_store}, remove, runner, rounds)


def _measure_clones(
    store: ZFSStorage, dataset: str, runner: TimingRunner, sizes: Sequence[int], rounds: int
) -> dict[str, Timed]:
    volumes, pool = _volumes(store), Pool()
    actions: dict[str, Action] = {}
    for objects in sizes:
        name = f"{TENANT}/with-{objects}"
        uuid = volumes.create_volume(name)["uuid"]
        runner.zfs("set", "sync=disabled", f"{dataset}/{name}")
        fill(store, name, objects, pool)
        runner.zfs("inherit", "sync", f"{dataset}/{name}")
        snapshot = volumes.create_snapshot(uuid, "filled")

        def bare(number: int, source: str = f"{dataset}/{name}@filled") -> None:
            runner.zfs("clone", source, f"{dataset}/{TENANT}/c{number}")

        def through_store(number: int, uuid: str = uuid, snapshot: str = snapshot["uuid"]) -> None:
            volumes.create_clone(uuid, snapshot, f"{TENANT}/c{number}")

        actions[bare_of(objects)] = bare
        actions[store_of(objects)] = through_store

    def remove(number: int) -> None:
        runner.zfs("destroy", f"{dataset}/{TENANT}/c{number}")

    return _timed(actions, remove, runner, rounds)


def bare_of(objects: int) -> str:
    """Return what a clone by zfs is called."""
    return f"zfs clone, {objects}"


def store_of(objects: int) -> str:
    """Return what a clone by the store is called."""
    return f"zfsstore, {objects}"


def _volumes(store: ZFSStorage) -> ZfsVolumes:
    volumes = store.volumes
    if not isinstance(volumes, ZfsVolumes):
        raise AssertionError("a store on a dataset has volumes on ZFS")
    return volumes


def _timed(
    actions: Mapping[str, Action], remove: Action, runner: TimingRunner, rounds: int
) -> dict[str, Timed]:
    """Run all *actions* in every round, in an order that rotates; what they made is removed.

    The first round is not counted. Each call gets a number of its own.
    """
    names, number = list(actions), 0
    found = {name: Timed() for name in names}
    for turn in range(rounds + 1):
        shift = turn % len(names)
        for name in [*names[shift:], *names[:shift]]:
            number += 1
            runner.taken = []
            start = time.perf_counter()
            actions[name](number)
            elapsed = time.perf_counter() - start
            if turn:
                found[name].seconds.append(elapsed)
                found[name].commands.append(list(runner.taken))
            remove(number)
    return found


def format_snapshots(buckets: int, snapshots: Mapping[str, Timed]) -> str:
    """Return the table of snapshots."""
    bare, through_store = snapshots["zfs snapshot"], snapshots["zfsstore"]
    return format_rows(
        [
            [f"snapshot of {buckets} buckets at once", "ms", "ratio", "processes"],
            ["bare `zfs snapshot`", _ms(bare), "1.00", str(bare.processes)],
            [
                "`create_snapshots`",
                _ms(through_store),
                f"{_ratio(through_store, bare):.2f}",
                str(through_store.processes),
            ],
        ]
    )


def format_clones(sizes: Sequence[int], clones: Mapping[str, Timed]) -> str:
    """Return the table of clones: of a small bucket, of a large one, and how they compare."""
    small, large = sizes
    head = ["clone, ms", *(f"of {objects:,} objects" for objects in sizes), "ratio", "processes"]
    rows = [head]
    for label, of in (("bare `zfs clone`", bare_of), ("`create_clone`", store_of)):
        one, other = clones[of(small)], clones[of(large)]
        compared = f"{_ratio(other, one):.2f}"
        rows.append([label, _ms(one), _ms(other), compared, str(other.processes)])
    ratios = [f"{_ratio(clones[store_of(n)], clones[bare_of(n)]):.2f}" for n in sizes]
    return format_rows([*rows, ["ratio to bare", *ratios, "", ""]])


def format_steps(
    buckets: int, snapshots: Timed, sizes: Sequence[int], clones: Mapping[str, Timed]
) -> str:
    """Return the table that says where the time of the store's calls goes."""
    columns = {f"snapshot of {buckets} buckets": snapshots}
    columns |= {f"clone of {objects:,} objects": clones[store_of(objects)] for objects in sizes}
    steps = [
        [f"{what} {seconds * 1000:,.0f}" for what, seconds in timed.steps()]
        for timed in columns.values()
    ]
    rows = [["where the time goes, in order, ms", "`create_snapshots`, `create_clone`"]]
    rows += [[name, ", ".join(found)] for name, found in zip(columns, steps, strict=True)]
    return format_rows(rows)


def _ratio(one: Timed, baseline: Timed) -> float:
    """Return how fast *one* is, the baseline being 1."""
    return paired_ratio(baseline.seconds, one.seconds)


def _ms(timed: Timed) -> str:
    low, middle, high = (
        f"{pick(timed.seconds) * 1000:,.0f}" for pick in (min, statistics.median, max)
    )
    return f"{middle} ({low}-{high})"
