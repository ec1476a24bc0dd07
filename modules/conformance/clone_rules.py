"""Rules about volumes that are made of snapshots: modules.volumes.CloneBackend."""

from __future__ import annotations

import uuid
from functools import partial
from typing import Any, Final

from modules.conformance.rule import rule
from modules.conformance.volume_help import VolumeHelp
from modules.errors import HasDependents, InvalidName, SnapshotNotFound, VolumeExists
from modules.volumes import CloneBackend, Volume

_PARENT: Final = "parent"
_SNAPSHOT: Final = "origin"
_SEED: Final = "cloned"


class CloneRules(VolumeHelp):
    """What must hold of clones; skipped when none are offered."""

    @rule("clones.create", "create_clone gives a volume with the snapshot's data and its origin")
    def test_clones_create(self) -> None:
        backend, parent, stored = self._parent()
        made: Any = self._clone(backend, "clone")
        name = f"{self.store.tenant}/clone"
        self.require(made["name"] == name, f"{name!r} became {made['name']!r}")
        self.require(made["uuid"] != parent, "the clone has its parent's uuid")
        expected = {
            "parent_volume": f"{self.store.tenant}/{_PARENT}",
            "parent_snapshot": _SNAPSHOT,
        }
        found = backend.get_volume(made["uuid"])
        listed = [volume for volume in backend.list_volumes() if volume["name"] == name]
        for volume in (made, found, *listed):
            clone = None if volume is None else volume.get("clone")
            self.require(clone == expected, f"its origin is {clone!r}, not {expected}")
        self.require(len(listed) == 1, f"list_volumes shows {listed!r:.200}")
        self.holds(self.inside("clone"), stored, _SEED, "in the clone")

    @rule("clones.independent", "what happens to a clone does not happen to its origin, nor back")
    def test_clones_independent(self) -> None:
        backend, _parent, stored = self._parent()
        kept = self.put_into(_PARENT, "only in the parent")
        self._clone(backend, "apart")
        clone, parent = self.inside("apart"), self.inside(_PARENT)
        added = self.put_into("apart", "only in the clone")
        self.lacks(parent, added, "in the parent")
        self.lacks(clone, kept, "in the clone")
        self.store.module.delete(clone, stored)
        self.lacks(clone, stored, "in the clone that it was deleted in")
        self.holds(parent, stored, _SEED, "in the parent")
        self.holds(self.inside(_PARENT, _SNAPSHOT), stored, _SEED, "in the snapshot")

    @rule("clones.parent-changes", "deleting an object in the parent leaves it in the clone")
    def test_clones_parent_changes(self) -> None:
        backend = self._cloning()
        volume = self.new_volume("changing")
        stored = self.put_into("changing", "changing")
        snapshot = backend.create_snapshot(volume, "now")
        name = f"{self.store.tenant}/unchanged"
        self.passing(backend.create_clone(volume, snapshot["uuid"], name))
        self.store.delete(stored, context=self.inside("changing"))
        self.lacks(self.inside("changing"), stored, "in the parent")
        self.holds(self.inside("unchanged"), stored, "changing", "in the clone")

    @rule("clones.state", "a clone has its own copy of the databases")
    def test_clones_state(self) -> None:
        backend = self._cloning()
        self.state_dir(self.store.context())
        volume = self.new_volume("state-parent")
        with self.database("state-parent") as connection:
            connection.execute("INSERT INTO item VALUES ('both', '')")
        snapshot = backend.create_snapshot(volume, "now")
        name = f"{self.store.tenant}/state-clone"
        self.passing(backend.create_clone(volume, snapshot["uuid"], name))
        for own in ("state-parent", "state-clone"):
            with self.database(own) as connection:
                connection.execute("INSERT INTO item VALUES (?, '')", (own,))
        for own in ("state-parent", "state-clone"):
            with self.database(own) as connection:
                found = {row[0] for row in connection.execute("SELECT name FROM item")}
            self.require(found == {"both", own}, f"the rows in {own} are {sorted(found)}")

    @rule("clones.refused", "a taken name, a bad name and an unknown snapshot are refused")
    def test_clones_refused(self) -> None:
        backend, parent, _stored = self._parent()
        snapshot, taken = self.shared[f"{_PARENT}@"], f"{self.store.tenant}/{_PARENT}"
        clone = partial(backend.create_clone, parent)
        self.raises(VolumeExists, "a taken name", partial(clone, snapshot, taken))
        self.raises(InvalidName, "a bad name", partial(clone, snapshot, "a/b/c"))
        unknown = partial(clone, str(uuid.uuid4()), f"{self.store.tenant}/unknown")
        self.raises(SnapshotNotFound, "an unknown snapshot", unknown)
        self.require(f"{self.store.tenant}/unknown" not in self.names(), "one was made")

    @rule("clones.dependents", "a snapshot with a clone cannot be deleted")
    def test_clones_dependents(self) -> None:
        backend = self._cloning()
        volume = self.new_volume("needed")
        stored = self.put_into("needed", "needed")
        snapshot = backend.create_snapshot(volume, "now")
        name = f"{self.store.tenant}/needing-it"
        self.passing(backend.create_clone(volume, snapshot["uuid"], name))
        delete = partial(backend.delete_snapshot, volume, snapshot["uuid"])
        self.raises(HasDependents, "deleting it", delete)
        self.holds(self.inside("needed", "now"), stored, "needed", "in the snapshot")

    @rule("clones.delete", "a clone can be deleted before its parent, which stays as it is")
    def test_clones_delete(self) -> None:
        backend, parent, stored = self._parent()
        made = self._clone(backend, "deleted-clone")
        backend.delete_volume(made["uuid"])
        self.require(backend.get_volume(made["uuid"]) is None, "get_volume still finds it")
        self.require(made["name"] not in self.names(), "list_volumes still lists it")
        self.require(backend.get_volume(parent) is not None, "its parent has gone with it")
        self.holds(self.inside(_PARENT), stored, _SEED, "in the parent")
        self.holds(self.inside(_PARENT, _SNAPSHOT), stored, _SEED, "in the snapshot")

    def _cloning(self) -> CloneBackend:
        volumes = self.volumes()
        if not isinstance(volumes, CloneBackend):
            self.skipTest("it offers no clones")
        return volumes

    def _parent(self) -> tuple[CloneBackend, str, str]:
        """Return the backend, a volume with a snapshot, and an object in both."""
        backend = self._cloning()
        volume = self.shared_volume(_PARENT)
        if f"{_PARENT}@" not in self.shared:
            self.shared[f"{_PARENT}:object"] = self.put_into(_PARENT, _SEED)
            self.shared[f"{_PARENT}@"] = backend.create_snapshot(volume, _SNAPSHOT)["uuid"]
        return backend, volume, self.shared[f"{_PARENT}:object"]

    def _clone(self, backend: CloneBackend, name: str) -> Volume:
        made: Volume = backend.create_clone(
            self.shared[_PARENT], self.shared[f"{_PARENT}@"], f"{self.store.tenant}/{name}"
        )
        self.passing(made)
        return made
