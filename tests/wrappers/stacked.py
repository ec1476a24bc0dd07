"""A deduplicating module above an encrypting one, on any substrate: it follows its volumes."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, Self

import pytest

from modules import fences
from modules.conformance import ModuleSpec
from modules.conformance.spec import Modules
from modules.errors import Busy, ObjectNotFound
from modules.wrappers.dedup import DedupStorage
from tests.wrappers.deduplicated import dedup, noise
from tests.wrappers.encrypted import encrypted, keys_at

BUCKET = {"tenant": "acme/photos"}
DATA = noise(1, 400_000)
PATIENCE_S = 60


class Stack:
    """The modules; ``leaf`` is where volumes are.

    Args:
        keys: a directory with the keys, which several stacks may share.
    """

    def __init__(self, leaf: ModuleSpec, keys: Path) -> None:
        specs = {"leaf": leaf, "enc": encrypted("leaf", keys_at(keys)), "top": dedup("enc")}
        self.modules = Modules(specs)
        module = self.modules.get("top")
        assert isinstance(module, DedupStorage)
        self.module = module
        self.volumes: Any = module.volumes  # type: ignore[attr-defined]  # the inner module's

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Let go of the volumes, so that they can be unmounted."""
        self.module._indexes.close()

    def put(self, context: dict[str, Any], data: bytes) -> str:
        return self.module.put(context, io.BytesIO(data))

    def get(self, context: dict[str, Any], module_data: str) -> bytes:
        with self.module.get_read_stream(context, module_data) as stream:
            return stream.read()

    def told(self, context: dict[str, Any]) -> tuple[int, int]:
        """Return how many objects the index has, and how many bytes the packs take."""
        found = self.module.statistics(context)["deduplication"]
        return found["objects"], found["stored_bytes"]


def follow_the_volume(stack: Stack, replica: Stack) -> None:
    """Snapshot, clone, replica, rename and rollback: objects stay readable, indexes revert."""
    volumes = stack.volumes
    volumes.create_volume("acme")
    uuid = volumes.create_volume("acme/photos")["uuid"]
    made = stack.put(BUCKET, DATA)
    snapshot = volumes.create_snapshot(uuid, "daily")
    then = stack.told(BUCKET)
    later = stack.put(BUCKET, DATA + b"later")
    stack.module.delete(BUCKET, made)
    stack.module.delete(BUCKET, later)
    stack.module.collect(BUCKET, grace=timedelta(0))
    assert (0, 0) == stack.told(BUCKET)
    daily = BUCKET | {"snapshot": "daily"}
    assert DATA == stack.get(daily, made)
    assert then == stack.told(daily)

    volumes.create_clone(uuid, snapshot["uuid"], "acme/fork")
    fork = {"tenant": "acme/fork"}
    assert DATA == stack.get(fork, made)
    stack.put(fork, DATA)
    assert 2 == stack.told(fork)[0]
    assert stack.told(fork)[1] < 1.2 * then[1]

    replica.volumes.create_volume("copy")
    with volumes.send_stream("acme/photos", "daily") as stream:
        replica.volumes.receive_stream("copy/photos", stream, read_only=True)
    assert DATA == replica.get({"tenant": "copy/photos"}, made)
    assert then == replica.told({"tenant": "copy/photos"})

    volumes.rename_volume(uuid, "acme/pictures")
    renamed = {"tenant": "acme/pictures"}
    with pytest.raises(ObjectNotFound):
        stack.get(renamed, made)
    volumes.rollback_volume(uuid, snapshot["uuid"])
    assert then == stack.told(renamed)
    assert DATA == stack.get(renamed, made)
    for context in (renamed, fork):
        assert stack.module.fsck(context, level=3).is_clean


class _Slow:
    """A source that stops half-way, after a pack was stored, until it is told to go on."""

    def __init__(self) -> None:
        self.inside, self.go_on = threading.Event(), threading.Event()
        self._stream = io.BytesIO(noise(2, 4_000_000))

    def read(self, size: int = -1, /) -> bytes:
        if self._stream.tell() >= 3_000_000 and not self.inside.is_set():
            self.inside.set()
            assert self.go_on.wait(PATIENCE_S)
        return self._stream.read(min(size, 500_000))


def fail_across_a_rollback(stack: Stack, tenant: str) -> None:
    """A put that a rollback overtakes is not acknowledged, and leaves nothing that counts."""
    bucket = {"tenant": f"{tenant}/slow"}
    stack.volumes.create_volume(tenant)
    uuid = stack.volumes.create_volume(f"{tenant}/slow")["uuid"]
    kept = stack.put(bucket, DATA)
    source = _Slow()
    results: list[object] = []
    putting = _started(lambda: results.append(_outcome(lambda: stack.module.put(bucket, source))))
    assert source.inside.wait(PATIENCE_S)
    snapshot = stack.volumes.create_snapshot(uuid, "half-way")  # with the session of the put
    done: list[str] = []
    rolling = _started(
        lambda: done.append(stack.volumes.rollback_volume(uuid, snapshot["uuid"])["name"])
    )
    _wait_until_drained(stack.module.fence(bucket))  # type: ignore[attr-defined]
    source.go_on.set()
    for thread in (putting, rolling):
        thread.join(PATIENCE_S)
    assert ["Busy"] == results
    assert [f"{tenant}/slow"] == done
    assert DATA == stack.get(bucket, kept)
    stack.module.collect(bucket, grace=timedelta(0))  # the session that came back is none
    report = stack.module.fsck(bucket, level=3)
    assert report.is_clean, report.problems
    assert 1 == report.objects


def _outcome(action: Callable[[], object]) -> str:
    try:
        return f"returned {action()}"
    except Exception as error:
        return type(error).__name__


def _started(action: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=action, daemon=True)
    thread.start()
    return thread


def _wait_until_drained(fence: Path) -> None:
    """Return when somebody waits to be alone in the volume."""
    for _ in range(PATIENCE_S * 100):
        try:
            fences.hold(fence).release()
        except Busy:
            return
        threading.Event().wait(0.01)
    raise AssertionError("nobody wants to be alone")
