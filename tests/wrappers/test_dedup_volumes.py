"""Deduplicated objects follow their volume: snapshot, clone, rename, rollback, replica, sweep."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from modules import fences
from modules.conformance import ModuleSpec
from modules.conformance.spec import Modules
from modules.errors import Busy, IntegrityError, ObjectNotFound, PermissionDenied
from modules.extensions import SupportsVolumes
from modules.volumes import OperatorBackend
from modules.wrappers.dedup import DedupStorage
from tests.conformance.memory import directory_in_memory
from tests.wrappers.deduplicated import NOW, dedup, noise
from tests.wrappers.encrypted import encrypted, keys_at

BUCKET = {"tenant": "acme/photos"}
DATA = noise(1, 500_000)


def store_at(directory: Path) -> DedupStorage:
    leaf = ModuleSpec("zfsstore.ZFSStorage", {"directory": str(directory / "store")})
    specs = {"leaf": leaf, "enc": encrypted("leaf", keys_at(directory)), "dedup": dedup("enc")}
    module = Modules(specs).get("dedup")
    assert isinstance(module, DedupStorage)
    return module


def volumes_of(module: Any) -> OperatorBackend:
    assert isinstance(module, SupportsVolumes)
    assert isinstance(module.volumes, OperatorBackend)
    return module.volumes


def put(module: DedupStorage, data: bytes, context: dict[str, Any] | None = None) -> str:
    return module.put(BUCKET if context is None else context, io.BytesIO(data))


def read(module: DedupStorage, context: dict[str, Any], module_data: str) -> bytes:
    with module.get_read_stream(context, module_data) as stream:
        return stream.read()


@pytest.fixture
def directory() -> Iterator[Path]:
    with directory_in_memory() as path:
        yield Path(path)


@pytest.fixture
def module(directory: Path) -> DedupStorage:
    made = store_at(directory)
    for name in ("acme", "acme/photos", "other"):
        volumes_of(made).create_volume(name)
    return made


def uuid_of(module: DedupStorage, name: str) -> str:
    return next(v["uuid"] for v in volumes_of(module).list_volumes() if v["name"] == name)


def test_snapshot_clone_rename_and_rollback_keep_objects_readable(
    module: DedupStorage, directory: Path
) -> None:
    volumes = volumes_of(module)
    photos = uuid_of(module, "acme/photos")
    made = put(module, DATA)
    snapshot = volumes.create_snapshot(photos, "daily")
    later = put(module, DATA + b"later")
    module.delete(BUCKET, made)
    module.delete(BUCKET, later)
    module.collect(BUCKET, grace=NOW)
    assert 0 == module.statistics(BUCKET)["deduplication"]["stored_bytes"]

    assert DATA == read(module, BUCKET | {"snapshot": "daily"}, made)
    frozen = module.statistics(BUCKET | {"snapshot": "daily"})["deduplication"]
    assert len(DATA) == frozen["logical_bytes"]
    volumes.create_clone(photos, snapshot["uuid"], "other/fork")
    fork = {"tenant": "other/fork"}
    both = put(module, DATA, fork)
    assert module.statistics(fork)["deduplication"]["stored_bytes"] < 1.1 * len(DATA)
    volumes.rename_volume(photos, "acme/pictures")
    renamed = {"tenant": "acme/pictures"}
    assert not module.available(renamed, later)
    volumes.rollback_volume(photos, snapshot["uuid"])
    assert DATA == read(module, renamed, made)

    again = store_at(directory)  # and all of it in another process
    assert DATA == read(again, renamed, made) == read(again, fork, both)
    for context in (renamed, fork):
        assert again.fsck(context, level=3).is_clean


class Slow:
    """Stops half-way, after a pack was stored, until the volume drains."""

    def __init__(self, inside: threading.Event, go_on: threading.Event) -> None:
        self.stream = io.BytesIO(noise(2, 6_000_000))
        self.inside, self.go_on = inside, go_on

    def read(self, size: int = -1, /) -> bytes:
        if self.stream.tell() >= 4_000_000 and not self.inside.is_set():
            self.inside.set()
            assert self.go_on.wait(30)
        return self.stream.read(min(size, 500_000))


def wait_until_draining(fence: Path) -> None:
    """Return when somebody waits to be alone in the volume."""
    for _ in range(3000):
        try:
            fences.hold(fence).release()
        except Busy:
            return
        threading.Event().wait(0.01)


def test_a_put_across_a_rollback_fails_instead_of_being_acknowledged(
    module: DedupStorage,
) -> None:
    photos = uuid_of(module, "acme/photos")
    kept = put(module, DATA)
    inside, go_on = threading.Event(), threading.Event()
    results: list[object] = []

    def slow_put() -> None:
        try:
            results.append(module.put(BUCKET, Slow(inside, go_on)))
        except Busy as error:
            results.append(error)

    thread = threading.Thread(target=slow_put)
    thread.start()
    assert inside.wait(30)
    snapshot = volumes_of(module).create_snapshot(photos, "half-way")  # with its session
    rollback = threading.Thread(
        target=lambda: results.append(
            volumes_of(module).rollback_volume(photos, snapshot["uuid"])["name"]
        )
    )
    rollback.start()
    wait_until_draining(module.fence(BUCKET))  # type: ignore[attr-defined]
    go_on.set()
    thread.join(30)
    rollback.join(60)
    assert "acme/photos" in results
    assert any(isinstance(result, Busy) for result in results)
    assert DATA == read(module, BUCKET, kept)
    module.collect(BUCKET, grace=NOW)  # the session that came back is none
    report = module.fsck(BUCKET, level=3)
    assert report.is_clean
    assert 1 == report.objects
    assert module.statistics(BUCKET)["deduplication"]["stored_bytes"] < 2 * len(DATA)


def test_a_replica_is_read_and_not_written(module: DedupStorage) -> None:
    volumes: Any = volumes_of(module)
    made = put(module, DATA)
    volumes.create_snapshot(uuid_of(module, "acme/photos"), "one")
    with volumes.send_stream("acme/photos", "one") as stream:
        volumes.receive_stream("acme/copy", stream, read_only=True)
    copy = {"tenant": "acme/copy"}
    assert DATA == read(module, copy, made)
    assert module.available(copy, made)
    with pytest.raises(PermissionDenied):
        put(module, b"x", copy)
    with pytest.raises(PermissionDenied):
        module.delete(copy, made)


def files(directory: Path) -> set[Path]:
    objects = directory / "store" / ".zfsstore" / "objects"
    return {path for path in objects.rglob("*/*") if path.is_file()}


def test_sweep_sets_lost_objects_aside_and_finds_lost_packs(directory: Path) -> None:
    leaf = ModuleSpec("zfsstore.ZFSStorage", {"directory": str(directory / "store")})
    modules = Modules({"leaf": leaf, "dedup": dedup("leaf")})
    module: Any = modules.get("dedup")
    live, lost, gone, hurt = (put(module, noise(n, 200_000), {}) for n in range(1, 5))
    module.delete({}, gone)
    orphan = modules.get("leaf").put({}, io.BytesIO(b"a pack whose put was killed"))
    before = files(directory)
    extra = put(module, noise(9, 300_000), {})
    (pack,) = files(directory) - before
    pack.unlink()
    report = module.sweep({}, [live, gone, hurt, extra], older_than=timedelta(0), dry_run=False)
    assert {gone, extra} == set(report.missing)
    assert {lost, orphan} == set(report.unreferenced)
    assert module.available({}, live)
    assert not module.available({}, lost)
    with pytest.raises(ObjectNotFound):
        read(module, {}, lost)
    module.collect({}, grace=NOW)
    assert noise(1, 200_000) == read(module, {}, live)


def test_an_index_of_another_volume_is_refused(module: DedupStorage) -> None:
    made = put(module, DATA)
    with pytest.raises(IntegrityError, match="another key domain"):
        read(module, BUCKET | {"key_domain": "another"}, made)
    assert not module.available(BUCKET | {"key_domain": "another"}, made)


def test_contracts_and_capabilities_pass_through(module: DedupStorage) -> None:
    assert ["AES_GCM_256"] == module.capabilities(BUCKET)["cdmi_encryption"]
    for name in ("volumes", "state_dir", "fence", "identity", "sweep"):
        assert hasattr(module, name)
    assert {"capacity", "volume", "encryption", "deduplication"} <= set(module.statistics(BUCKET))
