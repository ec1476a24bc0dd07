"""Rules about volumes: one for each tenant and bucket. Skipped when a module offers none."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

from modules.conformance.payload import pattern, read_exactly
from modules.conformance.rule import rule
from modules.conformance.scale import MIB
from modules.conformance.volume_help import VolumeHelp
from modules.errors import InvalidName, NotFound, VolumeExists, VolumeNotFound
from modules.extensions import SupportsVolumes
from modules.volumes import (
    CloneBackend,
    ReplicationBackend,
    SnapshotBackend,
)

_TIERS: Final[Mapping[str, type]] = {
    "snapshots": SnapshotBackend,
    "clones": CloneBackend,
    "replication": ReplicationBackend,
}
_STATES: Final = ("online", "offline", "restricted")
_ODD_NAMES: Final = ("Grüße 名前", "a.b-c_d:e", "UPPER and lower", "%2F", "x" * 100, "@snap", "*")
_BAD_NAMES: Final = ("", "/", "a/", "/a", "a//b", "a/b/c", "a\0b", "\ud800")


class VolumeRules(VolumeHelp):
    """What must hold of ``module.volumes``."""

    @rule("volumes.tiers", "volumes.capabilities() claims exactly the tiers whose methods exist")
    def test_volumes_tiers(self) -> None:
        volumes = self.volumes()
        claimed: Any = volumes.capabilities()
        self.require(
            isinstance(claimed, dict) and set(claimed) == set(_TIERS),
            f"capabilities() must have exactly the keys {sorted(_TIERS)}, not {claimed!r:.200}",
        )
        for tier, protocol in _TIERS.items():
            self.require(
                type(claimed[tier]) is bool, f"{tier} must be True or False, not {claimed[tier]!r}"
            )
            has_methods = isinstance(volumes, protocol)
            self.require(
                claimed[tier] == has_methods,
                f"capabilities() says {tier} is {claimed[tier]}, but the methods of "
                f"{protocol.__name__} are {'all there' if has_methods else 'not there'}",
            )

    @rule("volumes.snapshot-claim", "cdmi_snapshot is claimed exactly where snapshots can be made")
    def test_volumes_snapshot_claim(self) -> None:
        capabilities = self.store.module.capabilities(self.store.context())
        claims = [capabilities.get(name) for name in ("cdmi_snapshot", "cdmi_snapshots")]
        module: Any = self.store.module
        can = isinstance(module, SupportsVolumes) and isinstance(module.volumes, SnapshotBackend)
        self.require(
            ("true" in claims) == can,
            f"cdmi_snapshot and cdmi_snapshots are {claims}, and there is "
            + ("a" if can else "no")
            + " volumes backend that makes snapshots",
        )

    @rule("volumes.create", "create_volume returns the volume; get_volume and list_volumes show it")
    def test_volumes_create(self) -> None:
        volumes = self.volumes()
        name = f"{self.store.tenant}/created"
        made: Any = self.store.make_volume(name, 512 * MIB)
        self._volume(made, name, 512 * MIB)
        expected = _without_usage(made)
        found = volumes.get_volume(made["uuid"])
        self.require(
            found is not None and _without_usage(found) == expected,
            f"get_volume shows {found!r:.300}",
        )
        listed = [v for v in map(_without_usage, volumes.list_volumes()) if v["name"] == name]
        self.require(listed == [expected], f"list_volumes shows {listed!r:.300}")

    def _volume(self, volume: Any, name: str, size_bytes: int | None) -> None:
        self.require(isinstance(volume, dict), f"a volume must be a dict, not {volume!r:.100}")
        expected = {"name": name, "size_bytes": size_bytes, "style": "flexvol"}
        for key, value in expected.items():
            self.require(volume.get(key) == value, f"{key} is {volume.get(key)!r}, not {value!r}")
        try:
            uuid.UUID(volume.get("uuid", ""))
        except (ValueError, AttributeError, TypeError):
            self.require(False, f"uuid is {volume.get('uuid')!r}, which is no uuid")
        self.require(volume.get("state") in _STATES, f"state is {volume.get('state')!r}")
        self.require(
            volume.get("vol_type") in ("rw", "dp"), f"vol_type is {volume.get('vol_type')!r}"
        )

    @rule("volumes.sorted", "list_volumes is sorted by name")
    def test_volumes_sorted(self) -> None:
        for name in ("zeta", "alpha"):
            self.volumes()
            self.store.make_volume(f"{self.store.tenant}/{name}")
        names = [volume["name"] for volume in self.volumes().list_volumes()]
        self.require(names == sorted(names), f"list_volumes is not sorted: {names!r:.200}")

    @rule("volumes.durable-uuid", "another instance finds a volume by the same uuid")
    def test_volumes_durable_uuid(self) -> None:
        self.volumes()
        made = self.store.make_volume(f"{self.store.tenant}/durable")
        other: Any = self.store.modules.make(self.store.spec)
        found = other.volumes.get_volume(made["uuid"])
        self.require(
            found is not None and found["name"] == made["name"],
            f"a second instance's get_volume gives {found!r:.200}",
        )

    @rule("volumes.exists", "creating a volume twice raises VolumeExists")
    def test_volumes_exists(self) -> None:
        volumes = self.volumes()
        self.raises(
            VolumeExists, "creating it again", lambda: volumes.create_volume(self.store.bucket)
        )
        found = volumes.get_volume(self.store.volume_id)
        self.require(found is not None, "the volume is gone after an attempt to create it again")

    @rule("volumes.parent", "a bucket of an absent tenant cannot be created")
    def test_volumes_parent(self) -> None:
        volumes = self.volumes()
        name = f"{self.store.tenant}-absent/bucket"
        self.raises(VolumeNotFound, "without its tenant", lambda: volumes.create_volume(name))

    @rule("volumes.absent", "an unknown uuid is None for get_volume, VolumeNotFound for the others")
    def test_volumes_absent(self) -> None:
        volumes = self.volumes()
        absent = str(uuid.uuid4())
        self.require(volumes.get_volume(absent) is None, "get_volume must return None")
        calls: dict[str, Callable[[], object]] = {
            "delete_volume": lambda: volumes.delete_volume(absent),
            "patch_volume": lambda: volumes.patch_volume(absent, size_bytes=64 * MIB),
            "access_handle": lambda: volumes.access_handle(absent),
        }
        for name, call in calls.items():
            self.raises(VolumeNotFound, name, call)

    @rule("volumes.delete", "a deleted volume is listed no more, and its name is free")
    def test_volumes_delete(self) -> None:
        volumes = self.volumes()
        name = f"{self.store.tenant}/deleted"
        made = self.store.make_volume(name)
        self.store.put("inside", context=self.store.context(tenant=name))
        volumes.delete_volume(made["uuid"])
        self.require(volumes.get_volume(made["uuid"]) is None, "get_volume still finds it")
        names = [volume["name"] for volume in volumes.list_volumes()]
        self.require(name not in names, "list_volumes still lists it")
        again = self.store.make_volume(name)
        self.require(again["uuid"] != made["uuid"], "a new volume got the old uuid")

    @rule("volumes.patch", "patch_volume changes the size and nothing else")
    def test_volumes_patch(self) -> None:
        volumes = self.volumes()
        made = self.store.make_volume(f"{self.store.tenant}/patched", 512 * MIB)
        for size in (1024 * MIB, None):
            changed: Any = volumes.patch_volume(made["uuid"], size_bytes=size)
            self._volume(changed, made["name"], 1024 * MIB)
            self.require(changed["uuid"] == made["uuid"], "the uuid has changed")

    @rule("volumes.names", "names may be any UTF-8")
    def test_volumes_names(self) -> None:
        volumes = self.volumes()
        names = {f"{self.store.tenant}/{name}" for name in _ODD_NAMES}
        for name in sorted(names):
            made = self.store.make_volume(name)
            self.require(made["name"] == name, f"{name!r} became {made['name']!r}")
            context = self.store.context(tenant=name)
            module_data = self.store.put("odd", context=context)
            self.require(
                self.store.module.available(context, module_data), f"{name!r} cannot be stored into"
            )
        listed = {volume["name"] for volume in volumes.list_volumes()}
        self.require(names <= listed, f"not listed: {sorted(names - listed)}")

    @rule("volumes.invalid-names", "names that are no tenant and no bucket raise InvalidName")
    def test_volumes_invalid_names(self) -> None:
        volumes = self.volumes()
        before = len(volumes.list_volumes())
        for name in _BAD_NAMES:
            self.raises(InvalidName, repr(name), partial(volumes.create_volume, name))
        self.require(len(volumes.list_volumes()) == before, "one of them was created")

    @rule("volumes.put-absent", "a put into an absent volume raises VolumeNotFound")
    def test_volumes_put_absent(self) -> None:
        self.volumes()
        for name in (f"{self.store.tenant}/absent", f"{self.store.tenant}-absent"):
            context = self.store.context(tenant=name)
            self.raises(
                VolumeNotFound,
                f"put into {name!r}",
                partial(self.store.put, "absent", context=context),
            )

    @rule("volumes.apart", "a volume does not see another volume's objects")
    def test_volumes_apart(self) -> None:
        self.volumes()
        other = self.store.make_volume(f"{self.store.tenant}-other")["name"]
        module_data = self.put("apart")
        for tenant in (other, self.store.tenant):
            context = self.store.context(tenant=tenant)
            self.require(
                self.store.module.available(context, module_data) is False,
                f"{tenant!r} sees an object of {self.store.bucket!r}",
            )
            read = partial(self.store.module.get_read_stream, context, module_data)
            self.raises(NotFound, f"get in {tenant!r}", read)
            self.store.module.delete(context, module_data)
        found = read_exactly(self.get(module_data), 2048)
        self.require(found == pattern("apart", 1024), "another volume's delete removed it")

    @rule("volumes.access-handle", "access_handle says by its kind how to reach the data")
    def test_volumes_access_handle(self) -> None:
        handle: Any = self.volumes().access_handle(self.store.volume_id)
        self.require(
            isinstance(handle, dict) and isinstance(handle.get("kind"), str),
            f"access_handle must be a dict with the text 'kind', not {handle!r:.100}",
        )


def _without_usage(volume: Any) -> dict[str, Any]:
    """Return a volume without what changes by itself: a substrate counts usage late."""
    return {key: value for key, value in volume.items() if key != "used_bytes"}
