"""Rules about ``module.volumes`` where it can freeze volumes: modules.volumes.SnapshotBackend."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final

from modules.conformance.payload import Source
from modules.conformance.rule import rule
from modules.conformance.store import SMALL_BYTES
from modules.conformance.volume_help import VolumeHelp
from modules.errors import (
    Busy,
    InvalidArgument,
    InvalidName,
    SnapshotExists,
    SnapshotNotFound,
    VolumeNotFound,
)
from modules.extensions import SupportsSweep
from modules.volumes import SnapshotBackend

_VOLUME: Final = "frozen"
_ODD_NAMES: Final = ("with space", "2026-11-21T12:00:00Z", ".hidden", "UPPER_lower-1.2", "-r")
_BAD_NAMES: Final = ("", ".", "..", "a/b", "a@b", "a#b", "é", "a\0b", "a\n", "%", "x" * 300)
_ROUNDS: Final = 3
_PATIENCE_S: Final = 2.0


class SnapshotRules(VolumeHelp):
    """What must hold of snapshots; skipped when none are offered."""

    @rule("snapshots.create", "create_snapshot returns it; get and list show it, elsewhere too")
    def test_snapshots_create(self) -> None:
        backend, volume = self._frozen()
        made: Any = backend.create_snapshot(volume, "created")
        self.require(isinstance(made, dict), f"a snapshot must be a dict, not {made!r:.100}")
        self.require(made.get("name") == "created", f"its name is {made.get('name')!r}")
        size = made.get("size_consumed")
        self.require(type(size) is int and size >= 0, f"size_consumed is {size!r}")
        if "create_time" in made:
            self._time(made["create_time"])
        other: Any = self.store.modules.make(self.store.spec)
        for instance in (backend, other.volumes):
            found = instance.get_snapshot(volume, made["uuid"])
            self.require(
                found is not None and (found["uuid"], found["name"]) == (made["uuid"], "created"),
                f"get_snapshot shows {found!r:.200}",
            )
            listed = [one["uuid"] for one in instance.list_snapshots(volume)]
            self.require(listed.count(made["uuid"]) == 1, f"list_snapshots shows {listed!r:.200}")

    def _time(self, value: Any) -> None:
        try:
            found = datetime.fromisoformat(value)
        except (TypeError, ValueError):
            self.require(False, f"create_time is {value!r}, which is no RFC 3339")
        self.require(found.tzinfo is not None, f"create_time {value!r} has no time zone")

    @rule("snapshots.order", "list_snapshots is sorted by age, the oldest first")
    def test_snapshots_order(self) -> None:
        backend, volume = self._frozen()
        names = ["order-z", "order-a", "order-m"]
        for name in names:
            backend.create_snapshot(volume, name)
        listed = [one["name"] for one in backend.list_snapshots(volume)]
        found = [name for name in listed if name in names]
        self.require(found == names, f"made as {names}, listed as {found}")

    @rule("snapshots.exists", "a second snapshot of one name raises SnapshotExists")
    def test_snapshots_exists(self) -> None:
        backend, volume = self._frozen()
        made = backend.create_snapshot(volume, "twice")
        again = partial(backend.create_snapshot, volume, "twice")
        self.raises(SnapshotExists, "creating it again", again)
        self.require(
            backend.get_snapshot(volume, made["uuid"]) is not None,
            "it is gone after an attempt to create it again",
        )

    @rule("snapshots.names", "a name may have letters, digits, spaces and _ . : -, nothing else")
    def test_snapshots_names(self) -> None:
        backend, volume = self._frozen()
        stored = self.put_into(_VOLUME, "names")
        for name in _ODD_NAMES:
            made = backend.create_snapshot(volume, name)
            self.require(made["name"] == name, f"{name!r} became {made['name']!r}")
            self.holds(self.inside(_VOLUME, name), stored, "names", f"in the snapshot {name!r}")
        before = len(backend.list_snapshots(volume))
        for name in _BAD_NAMES:
            call = partial(backend.create_snapshot, volume, name)
            self.raises(InvalidName, f"the name {name!r:.20}", call)
        self.require(len(backend.list_snapshots(volume)) == before, "one of them was created")

    @rule("snapshots.absent", "unknown uuids are None for get_snapshot, NotFound for the others")
    def test_snapshots_absent(self) -> None:
        backend, volume = self._frozen()
        absent = str(uuid.uuid4())
        self.require(backend.get_snapshot(volume, absent) is None, "get_snapshot must return None")
        delete = partial(backend.delete_snapshot, volume, absent)
        self.raises(SnapshotNotFound, "delete_snapshot", delete)
        calls: dict[str, Callable[[], object]] = {
            "create_snapshot": lambda: backend.create_snapshot(absent, "absent"),
            "list_snapshots": lambda: backend.list_snapshots(absent),
            "delete_snapshot": lambda: backend.delete_snapshot(absent, absent),
        }
        for name, call in calls.items():
            self.raises(VolumeNotFound, f"{name} of an unknown volume", call)

    @rule("snapshots.delete", "a deleted snapshot is gone, its name is free, others stay")
    def test_snapshots_delete(self) -> None:
        backend, volume = self._frozen()
        stored = self.put_into(_VOLUME, "kept")
        kept = backend.create_snapshot(volume, "kept")
        made = backend.create_snapshot(volume, "gone")
        self.store.delete(stored, context=self.inside(_VOLUME))
        backend.delete_snapshot(volume, made["uuid"])
        self.require(
            backend.get_snapshot(volume, made["uuid"]) is None, "get_snapshot still finds it"
        )
        listed = [one["uuid"] for one in backend.list_snapshots(volume)]
        self.require(made["uuid"] not in listed, "list_snapshots still lists it")
        self.require(kept["uuid"] in listed, "another snapshot has gone with it")
        self.lacks(self.inside(_VOLUME, "gone"), stored, "in a deleted snapshot")
        self.holds(self.inside(_VOLUME, "kept"), stored, "kept", "in another snapshot")
        again = backend.create_snapshot(volume, "gone")
        self.require(again["uuid"] != made["uuid"], "a new snapshot got the old uuid")

    @rule("snapshots.read", "a snapshot shows what was there then, whatever happens after")
    def test_snapshots_read(self) -> None:
        backend, volume = self._frozen()
        old = self.put_into(_VOLUME, "old")
        backend.create_snapshot(volume, "then")
        new = self.put_into(_VOLUME, "new")
        self.store.delete(old, context=self.inside(_VOLUME))
        then, now = self.inside(_VOLUME, "then"), self.inside(_VOLUME)
        self.holds(then, old, "old", "in the snapshot")
        self.lacks(then, new, "in the snapshot")
        self.holds(now, new, "new", "in the volume")
        self.lacks(now, old, "in the volume")

    @rule("snapshots.read-only", "put and delete in a snapshot raise InvalidArgument")
    def test_snapshots_read_only(self) -> None:
        backend, volume = self._frozen()
        stored = self.put_into(_VOLUME, "read-only")
        backend.create_snapshot(volume, "read-only")
        context = self.inside(_VOLUME, "read-only")
        put = partial(self.store.module.put, context, Source("x", SMALL_BYTES))
        self.raises(InvalidArgument, "put into a snapshot", put)
        delete = partial(self.store.module.delete, context, stored)
        self.raises(InvalidArgument, "delete in a snapshot", delete)
        self.holds(context, stored, "read-only", "in the snapshot")
        self.holds(self.inside(_VOLUME), stored, "read-only", "in the volume")

    @rule("snapshots.read-absent", "reading an absent snapshot raises SnapshotNotFound")
    def test_snapshots_read_absent(self) -> None:
        self._frozen()
        stored = self.put_into(_VOLUME, "live")
        context = self.inside(_VOLUME, "no such snapshot")
        read = partial(self.store.module.get_read_stream, context, stored)
        self.raises(SnapshotNotFound, "get in an absent snapshot", read)
        self.require(
            self.store.module.available(context, stored) is False,
            "available is not False in an absent snapshot",
        )

    @rule("snapshots.sweep", "a sweep leaves the objects of snapshots alone")
    def test_snapshots_sweep(self) -> None:
        backend, volume = self._frozen()
        module: Any = self.store.module
        if not isinstance(module, SupportsSweep):
            self.skipTest("it offers no sweep")
        lost = self.put_into(_VOLUME, "swept")
        backend.create_snapshot(volume, "swept")
        context = self.inside(_VOLUME)
        live = sorted(self.store.objects[context["tenant"]] - {lost})
        deadline = time.monotonic() + _PATIENCE_S  # a file's time may lag behind the clock
        while self.store.module.available(context, lost) and time.monotonic() < deadline:
            module.sweep(context, live, older_than=timedelta(0), dry_run=False)
        self.lacks(context, lost, "in the volume after a sweep")
        self.holds(self.inside(_VOLUME, "swept"), lost, "swept", "in the snapshot")

    @rule("snapshots.state", "database and objects in a snapshot fit together, under write load")
    def test_snapshots_state(self) -> None:
        backend, volume = self._frozen()
        self.state_dir(self.inside(_VOLUME))
        load = _Load(self)
        with self.database(_VOLUME) as connection:  # open all the while, as a host has it
            try:
                load.start()
                for number in range(_ROUNDS):
                    _mark(connection, f"before {number}")
                    backend.create_snapshot(volume, f"state-{number}")
                    _mark(connection, f"after {number}")
            finally:
                load.stop()
        for number in range(_ROUNDS):
            self._fits(f"state-{number}", number)

    def _fits(self, snapshot: str, number: int) -> None:
        items = self.frozen_items(_VOLUME, snapshot)
        self.require(f"before {number}" in items, "a row that was committed before is not there")
        self.require(f"after {number}" not in items, "a row that was committed after is there")
        for name, seed in items.items():
            if seed:
                self.holds(self.inside(_VOLUME, snapshot), name, seed, "in a snapshot by its row")

    def _frozen(self) -> tuple[SnapshotBackend, str]:
        volumes = self.volumes()
        if not isinstance(volumes, SnapshotBackend):
            self.skipTest("it offers no snapshots")
        return volumes, self.shared_volume(_VOLUME)


class _Load:
    """Two threads that store objects with a row each, and delete every other, row first."""

    def __init__(self, suite: SnapshotRules) -> None:
        self._suite = suite
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(n,)) for n in range(2)]
        self._written = threading.Semaphore(0)
        self._failure: Exception | None = None

    def start(self) -> None:
        """Return when something has been written."""
        for thread in self._threads:
            thread.start()
        for _ in range(4):
            self._written.acquire(timeout=_PATIENCE_S)

    def stop(self) -> None:
        """End the threads; raise what one has failed of."""
        self._stop.set()
        for thread in self._threads:
            thread.join()
        if self._failure is not None:
            raise self._failure

    def _run(self, number: int) -> None:
        try:
            with self._suite.database(_VOLUME) as connection:
                turn = 0
                while not self._stop.is_set():
                    self._step(connection, f"load {number} {turn}", is_deleted=turn % 2 == 1)
                    turn += 1
        except Exception as error:  # raised again by stop
            self._failure = error

    def _step(self, connection: Any, seed: str, *, is_deleted: bool) -> None:
        stored = self._suite.put_into(_VOLUME, seed)
        connection.execute("INSERT INTO item VALUES (?, ?)", (stored, seed))
        self._written.release()
        if is_deleted:
            connection.execute("DELETE FROM item WHERE name = ?", (stored,))
            with suppress(Busy):  # while a snapshot is being made; a host tries again later
                self._suite.store.delete(stored, context=self._suite.inside(_VOLUME))


def _mark(connection: Any, name: str) -> None:
    connection.execute("INSERT INTO item VALUES (?, '')", (name,))
