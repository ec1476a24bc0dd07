"""The modules' own upkeep: one process of a host does it, a piece at a time, for every bucket."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from modules.context import Context
from modules.errors import Unavailable
from simple.simple import SimpleStorage
from tests.cli.conftest import Store
from tests.host.objectservice import Site, put
from tests.host.serving import Server
from zfsstore import ZFSStorage
from zfsstore.host.catalog.records import Tenant
from zfsstore.host.chores import Chores
from zfsstore.host.services import open_services


class Busybody(ZFSStorage):
    """Has *work* slices of upkeep to do in each bucket."""

    def __init__(self, directory: str, work: int = 0) -> None:
        super().__init__(directory=directory, headroom_bytes=0)
        self.work = work
        self.done: list[str] = []
        self.fails: Exception | None = None

    def upkeep(self, context: Context, *, should_stop: Callable[[], bool]) -> bool:
        path = str(context["tenant"])
        self.done.append(path)
        if self.fails is not None and path == "owner/a":
            raise self.fails
        return self.done.count(path) < self.work


class Keeper(SimpleStorage):
    """The same without volumes."""

    def __init__(self, storage_dir: str) -> None:
        super().__init__(storage_dir=storage_dir)
        self.done: list[str] = []

    def upkeep(self, context: Context, *, should_stop: Callable[[], bool]) -> bool:
        self.done.append(str(context["tenant"]))
        return False


@pytest.fixture
def module(tmp_path: Path) -> Busybody:
    made = Busybody(str(tmp_path / "volumes"))
    for name in ("owner", "owner/a", "owner/b", "stranger", "stranger/c"):
        made.volumes.create_volume(name)
    return made


def chores_of(tmp_path: Path, **modules: Any) -> Chores:
    tenants = (Tenant("owner", "busy"), Tenant("shared", "keeper"), Tenant("guest", "keeper"))

    def context(**extra: Any) -> dict[str, Any]:
        return extra

    def get_module(name: str) -> Any:
        if name not in modules:
            raise Unavailable("it is away", operation="load", subject=name)
        return modules[name]

    return Chores(lambda: tenants, get_module, context, tmp_path / "run" / "upkeep.lock")


def test_every_bucket_has_its_turn_until_all_is_done(tmp_path: Path, module: Busybody) -> None:
    module.work = 3
    keeper = Keeper(str(tmp_path / "simple"))
    chores = chores_of(tmp_path, busy=module, keeper=keeper)
    assert 7 == chores.run_round()
    assert 3 * ["owner/a", "owner/b"] == module.done
    assert ["shared"] == keeper.done


def test_who_fails_keeps_nobody_from_its_turn(tmp_path: Path, module: Busybody) -> None:
    chores = chores_of(tmp_path, busy=module)  # and the other module cannot be had
    for module.fails in (Unavailable("gone", operation="do", subject="it"), ValueError("odd")):
        module.done.clear()
        assert 2 == chores.run_round()
        assert ["owner/a", "owner/b"] == module.done


def test_one_process_at_a_time(tmp_path: Path, module: Busybody) -> None:
    first, second = (chores_of(tmp_path, busy=module) for _ in range(2))
    first.start(tick_s=0.01, round_s=3600)
    _until(lambda: len(module.done) == 2)
    second.start(tick_s=0.01, round_s=3600)
    assert not second._is_elected()
    first.stop()
    _until(lambda: len(module.done) == 4)  # the other one goes on
    second.stop()


def test_stopping_cuts_a_slice_short(tmp_path: Path, module: Busybody) -> None:
    inside = threading.Event()

    def upkeep(context: Context, *, should_stop: Callable[[], bool]) -> bool:
        inside.set()
        _until(should_stop)
        return True

    module.upkeep = upkeep  # type: ignore[method-assign]
    chores = chores_of(tmp_path, busy=module)
    chores.start(tick_s=0.01)
    assert inside.wait(30)
    chores.stop()
    assert chores._thread is not None
    assert not chores._thread.is_alive()


@pytest.mark.slow
def test_a_server_collects_by_itself(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = Store(tmp_path / "data", capsys)
    store.fill()
    name = "modules.wrappers.dedup.DedupStorage"
    store.says("module", "put", "dedup", name, "--args", '{"inner": "default"}')
    store.says("tenant", "create", "lean", "--policy", "dedup")
    with open_services(store.config) as services:
        tenant = services.administration.get_tenant("lean")
        services.objects.create_bucket(tenant, "photos")
        for key in ("kept", "gone"):
            store.put("lean/photos", key, f"{key} " * 1000)
        services.objects.delete_object(tenant, "photos", "gone")
    (before,) = store.json("dedup", "stats", "dedup")
    assert (1, 2) == (before["objects"], before["chunks"])
    server = Server(tmp_path / "data", workers=2).start()
    try:
        _until(lambda: store.json("dedup", "stats", "dedup")[0]["chunks"] == 1)
    finally:
        assert 0 == server.stop()
    assert store.json("dedup", "fsck", "dedup", "--level", "3")[0]["ok"]


def test_the_service_has_chores(site: Site) -> None:
    owner = site.tenant("volumes")
    site.service.create_bucket(owner, "photos")
    put(site, owner, "k", b"data")
    assert 0 == site.service.chores.run_round()


def _until(condition: Callable[[], bool]) -> None:
    limit = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < limit
        time.sleep(0.005)
