"""Rules about what an operator does to volumes: modules.volumes.OperatorBackend."""

from __future__ import annotations

import uuid
from datetime import timedelta
from functools import partial
from typing import Any

from modules.conformance.rule import rule
from modules.conformance.volume_help import VolumeHelp
from modules.errors import (
    HasDependents,
    InvalidArgument,
    SnapshotExists,
    SnapshotNotFound,
    VolumeExists,
    VolumeNotFound,
)
from modules.volumes import OperatorBackend, TrashedVolume


class OperatorRules(VolumeHelp):
    """What must hold of rename, rollback, promote, trash and destroy; skipped when not offered."""

    @rule("operator.rollback", "rollback makes objects and databases what they were")
    def test_operator_rollback(self) -> None:
        backend = self._operating()
        volume = self.new_volume("rolled")
        old = self.put_into("rolled", "old")
        self._row("rolled", "old")
        snapshot = backend.create_snapshot(volume, "then")
        new = self.put_into("rolled", "new")
        self._row("rolled", "new")
        self.store.module.delete(self.inside("rolled"), old)
        made = backend.rollback_volume(volume, snapshot["uuid"])
        self.require(made["uuid"] == volume, "the uuid has changed")
        self.require(made["name"] == f"{self.store.tenant}/rolled", f"it is called {made['name']}")
        self.holds(self.inside("rolled"), old, "old", "there again")
        self.lacks(self.inside("rolled"), new, "there after the rollback")
        self.require(self._rows("rolled") in (None, {"old"}), f"rows are {self._rows('rolled')}")
        self.holds(self.inside("rolled", "then"), old, "old", "in the snapshot")
        again = self.put_into("rolled", "again")
        self.holds(self.inside("rolled"), again, "again", "in the volume after the rollback")

    @rule("operator.rollback-newer", "rollback past newer snapshots takes an explicit wish")
    def test_operator_rollback_newer(self) -> None:
        backend = self._operating()
        volume = self.new_volume("past")
        first = backend.create_snapshot(volume, "first")
        stored = self.put_into("past", "later")
        second = backend.create_snapshot(volume, "second")
        rollback = partial(backend.rollback_volume, volume)
        self.raises(HasDependents, "rollback past a snapshot", partial(rollback, first["uuid"]))
        self.holds(self.inside("past"), stored, "later", "there after a refused rollback")
        unknown = partial(rollback, str(uuid.uuid4()))
        self.raises(SnapshotNotFound, "rollback to an unknown snapshot", unknown)
        rollback(first["uuid"], destroy_newer=True)
        self.lacks(self.inside("past"), stored, "there after the rollback")
        left = [one["uuid"] for one in backend.list_snapshots(volume)]
        self.require(second["uuid"] not in left, "the newer snapshot is still there")
        self.require(first["uuid"] in left, "the snapshot itself is gone")

    @rule("operator.rename", "a renamed volume keeps its uuid, data and snapshots")
    def test_operator_rename(self) -> None:
        backend = self._operating()
        volume, name = self.new_volume("before"), f"{self.store.tenant}/after"
        stored = self.put_into("before", "renamed")
        backend.create_snapshot(volume, "then")
        taken = partial(backend.rename_volume, volume, self.store.bucket)
        self.raises(VolumeExists, "renaming to a taken name", taken)
        made = backend.rename_volume(volume, name)
        self.require((made["uuid"], made["name"]) == (volume, name), f"it became {made!r:.200}")
        found = backend.get_volume(volume)
        self.require(
            found is not None and found["name"] == name, f"get_volume shows {found!r:.200}"
        )
        self.require(f"{self.store.tenant}/before" not in self.names(), "the old name is listed")
        for snapshot in (None, "then"):
            self.holds(self.inside("after", snapshot), stored, "renamed", "under the new name")

    @rule("operator.promote", "a promoted clone has its origin's snapshots, and the parent is one")
    def test_operator_promote(self) -> None:
        backend = self._operating()
        parent = self.new_volume("promoted-parent")
        stored = self.put_into("promoted-parent", "promoted")
        first, origin, later = (
            backend.create_snapshot(parent, name) for name in ("first", "origin", "later")
        )
        name = f"{self.store.tenant}/promoted"
        clone = backend.create_clone(parent, origin["uuid"], name)["uuid"]
        self.passing({"uuid": clone})
        made = backend.promote_volume(clone)
        self.require("clone" not in made, f"it is still a clone: {made!r:.200}")
        self._snapshots(clone, [first, origin])
        self._snapshots(parent, [later])
        now: Any = backend.get_volume(parent)
        expected = {"parent_volume": name, "parent_snapshot": "origin"}
        self.require(now.get("clone") == expected, f"the parent's origin is {now.get('clone')!r}")
        for bucket, snapshot in (
            ("promoted", "first"),
            ("promoted", None),
            ("promoted-parent", None),
        ):
            self.holds(self.inside(bucket, snapshot), stored, "promoted", f"in {bucket}")
        self.raises(
            InvalidArgument, "promoting what is no clone", partial(backend.promote_volume, clone)
        )

    def _snapshots(self, volume: str, expected: list[Any]) -> None:
        found = [one["name"] for one in self._operating().list_snapshots(volume)]
        names = [one["name"] for one in expected]
        self.require(found == names, f"the snapshots are {found}, not {names}")

    @rule("operator.trash", "what was deleted is in the trash, and comes back from there whole")
    def test_operator_trash(self) -> None:
        backend = self._operating()
        volume = self.new_volume("thrown")
        stored = self.put_into("thrown", "thrown")
        backend.create_snapshot(volume, "then")
        backend.delete_volume(volume)
        entry = self._trashed(volume)
        self.require(
            entry.name == f"{self.store.tenant}/thrown", f"the trash calls it {entry.name!r}"
        )
        taken = partial(backend.restore_volume, entry.id, self.store.bucket)
        self.raises(VolumeExists, "restoring under a taken name", taken)
        unknown = partial(backend.restore_volume, "no-such-id")
        self.raises(VolumeNotFound, "restoring an unknown id", unknown)
        made = backend.restore_volume(entry.id)
        self.require(made["uuid"] == volume, "it has come back with another uuid")
        for snapshot in (None, "then"):
            self.holds(self.inside("thrown", snapshot), stored, "thrown", "there again")
        left = [one.uuid for one in backend.list_trash()]
        self.require(volume not in left, "it is still in the trash")

    @rule("operator.trash-kept", "empty_trash destroys nothing in a dry run, the default")
    def test_operator_trash_kept(self) -> None:
        backend = self._operating()
        volume = self.new_volume("kept-in-trash")
        backend.delete_volume(volume)
        would = backend.empty_trash(older_than=timedelta(0))
        self.require(volume in [one.uuid for one in would], "it does not say what it would destroy")
        self._trashed(volume)
        young = backend.empty_trash(older_than=timedelta(days=1))
        self.require(volume not in [one.uuid for one in young], "it takes what is younger, too")

    @rule("operator.destroy", "destroy removes what the plan said, and nothing that a clone needs")
    def test_operator_destroy(self) -> None:
        backend = self._operating()
        volume, name = self.new_volume("doomed"), f"{self.store.tenant}/doomed"
        snapshot = backend.create_snapshot(volume, "then")
        clone = backend.create_clone(volume, snapshot["uuid"], f"{self.store.tenant}/needing")
        self.passing(clone)
        self.raises(HasDependents, "destroying it", partial(backend.destroy_volume, volume))
        self.require(backend.get_volume(volume) is not None, "it is gone after a refusal")
        other = self.new_volume("doomed-alone")
        backend.create_snapshot(other, "then")
        plan = backend.plan_destroy(other)
        expected = {f"{name}-alone", f"{name}-alone@then"}
        self.require(set(plan.names) == expected, f"the plan is {plan.names}")
        self.require(backend.get_volume(other) is not None, "the plan was carried out")
        backend.destroy_volume(other)
        self.require(backend.get_volume(other) is None, "it is still there")
        in_trash = [one.uuid for one in backend.list_trash()]
        self.require(other not in in_trash, "it went to the trash")

    @rule("operator.snapshots", "create_snapshots freezes all the volumes, or none")
    def test_operator_snapshots(self) -> None:
        backend = self._operating()
        first, second = self.new_volume("first"), self.new_volume("second")
        made = backend.create_snapshots([first, second], "together")
        self.require([one["name"] for one in made] == ["together"] * 2, f"it made {made!r:.200}")
        backend.create_snapshot(second, "clash")
        both = partial(backend.create_snapshots, [first, second], "clash")
        self.raises(SnapshotExists, "a name that one of them has", both)
        self._snapshots(first, made[:1])

    def _operating(self) -> OperatorBackend:
        volumes = self.volumes()
        if not isinstance(volumes, OperatorBackend):
            self.skipTest("it offers no calls for operators")
        return volumes

    def _trashed(self, volume: str) -> TrashedVolume:
        found = [one for one in self._operating().list_trash() if one.uuid == volume]
        self.require(len(found) == 1, f"list_trash shows it {len(found)} times")
        return found[0]

    def _row(self, bucket: str, name: str) -> None:
        if self.has_state_dir():
            with self.database(bucket) as connection:
                connection.execute("INSERT INTO item VALUES (?, '')", (name,))

    def _rows(self, bucket: str) -> set[str] | None:
        if not self.has_state_dir():
            return None
        with self.database(bucket) as connection:
            return {row[0] for row in connection.execute("SELECT name FROM item")}
