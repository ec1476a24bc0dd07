"""Somebody waits to be alone in a volume: indexes are closed, uploads cut off, requests refused."""

from __future__ import annotations

import io
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest

from modules import fences
from modules.errors import Busy, ObjectNotFound
from tests.host.objectservice import Site, get, put
from tests.host.serving import Server, path_of, wait_until
from zfsstore.host.catalog.records import Tenant
from zfsstore.host.namespace.indexes import Indexes
from zfsstore.layout import fence_path

LONG_S = 20.0


class Waiter:
    """A thread that waits to be alone, and stays so until it is told to go."""

    def __init__(self, fence: Path) -> None:
        self._fence = fence
        self._is_alone, self._go_on = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        wait_until(lambda: self._is_alone.is_set() or is_draining(fence))

    def finish(self) -> None:
        """Return once it was alone and has gone."""
        assert self._is_alone.wait(LONG_S)
        self._go_on.set()
        self._thread.join(LONG_S)

    def _run(self) -> None:
        with fences.exclusive([self._fence], patience_s=LONG_S):
            self._is_alone.set()
            self._go_on.wait(LONG_S)


def is_draining(fence: Path) -> bool:
    try:
        fences.hold(fence).release()
    except Busy:
        return True
    return False


@pytest.fixture
def tenant(site: Site) -> Tenant:
    owner = site.tenant("volumes")
    site.service.create_bucket(owner, "photos")
    return owner


@pytest.fixture
def fence(site: Site, tenant: Tenant) -> Path:
    return fence_path(site.volumes_root, f"{tenant.name}/photos")


def test_an_open_index_is_held_and_closed_by_its_last_user(tmp_path: Path) -> None:
    indexes = Indexes(f"sqlite:///{tmp_path}/shared.db", cache_dir=tmp_path / "cache")
    fence = tmp_path / "fence"
    state_dir = tmp_path / "state"
    state_dir.mkdir()
    with indexes.lease(state_dir, "a/b", fence=fence):
        pass
    with pytest.raises(Busy), fences.exclusive([fence], patience_s=0):
        pass
    with indexes.lease(state_dir, "a/b", fence=fence):
        waiter = Waiter(fence)
        assert [] == list(indexes.leases())
        with pytest.raises(Busy), indexes.lease(state_dir, "a/b", fence=fence):
            pass
        assert 0 == indexes.close_urgent()
        assert indexes.is_open(state_dir)
    assert not indexes.is_open(state_dir)
    waiter.finish()
    with indexes.lease(state_dir, "a/b", fence=fence):
        pass
    indexes.close()
    with fences.exclusive([fence], patience_s=0):
        pass


def test_idle_indexes_are_closed_at_once(site: Site, tenant: Tenant, fence: Path) -> None:
    put(site, tenant, "k", b"data")
    with pytest.raises(Busy), fences.exclusive([fence], patience_s=0):
        pass
    with fences.exclusive([fence], patience_s=LONG_S):  # upkeep looks
        for call in (
            lambda: put(site, tenant, "l", b""),
            lambda: get(site, tenant, "k"),
            lambda: site.service.list_children(tenant, "photos"),
            lambda: site.service.delete_object(tenant, "photos", "k"),
        ):
            with pytest.raises(Busy, match="try again"):
                call()
    assert b"data" == get(site, tenant, "k")


def test_an_upload_under_way_is_cut_off(site: Site, tenant: Tenant, fence: Path) -> None:
    put(site, tenant, "old", b"data")
    files = site.files("volumes")

    class Endless(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            return b"x" * min(size or 0, 4096)

    with ThreadPoolExecutor() as pool:
        upload = pool.submit(
            site.service.put_object,
            tenant,
            "photos",
            "k",
            Endless(),
            content_length=None,
            content_type=None,
        )
        wait_until(lambda: len(site.files("volumes")) > len(files))
        with fences.exclusive([fence], patience_s=LONG_S):
            assert files == site.files("volumes")
        with pytest.raises(Busy):
            upload.result(LONG_S)
    with pytest.raises(ObjectNotFound):
        get(site, tenant, "k")
    assert b"data" == get(site, tenant, "old")


def test_what_a_late_upload_stores_is_never_acknowledged(
    site: Site, tenant: Tenant, fence: Path
) -> None:
    """It ends between the request to drain and the operation: its answer is an error."""
    reached, go_on = threading.Event(), threading.Event()

    class Slow(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            reached.set()
            go_on.wait(LONG_S)
            return super().read(size)

    with ThreadPoolExecutor() as pool:
        upload = pool.submit(
            site.service.put_object,
            tenant,
            "photos",
            "k",
            Slow(b"late"),
            content_length=4,
            content_type=None,
        )
        assert reached.wait(LONG_S)
        waiter = Waiter(fence)
        go_on.set()
        with pytest.raises(Busy):
            upload.result(LONG_S)
        waiter.finish()
    with pytest.raises(ObjectNotFound):
        get(site, tenant, "k")


def test_a_sweep_gives_up(
    site: Site, tenant: Tenant, fence: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(site, tenant, "k", b"data")
    module = type(site.modules["volumes"])
    real = module.sweep  # type: ignore[attr-defined]

    waiters: list[Waiter] = []

    def sweep(self: object, *arguments: object, **options: object) -> object:
        waiters.append(Waiter(fence))
        return real(self, *arguments, **options)

    monkeypatch.setattr(module, "sweep", sweep)
    with pytest.raises(Busy):
        site.service.sweep(tenant, "photos", older_than=timedelta(0), dry_run=False)
    waiters[0].finish()
    assert b"data" == get(site, tenant, "k")


def test_over_http(tmp_path: Path) -> None:
    """A client that stalls in an upload does not hold up an operator, nor get an answer of 2xx."""
    server = Server(tmp_path / "data", stall_timeout_s=60.0).start()
    try:
        client = server.client()
        assert client.put(path_of("b", is_container=True)).status == 201
        fence = fence_path(tmp_path / "data" / "objects", "administrator/b")
        assert fence.exists()
        head = client.head_of("PUT", path_of("b", "k"), "Content-Length: 1000000")
        with socket.create_connection(("127.0.0.1", server.port), 60) as connection:
            connection.sendall(head + b"x" * 1000)
            wait_until(lambda: any(_uploads(tmp_path)))
            with fences.exclusive([fence], patience_s=LONG_S):
                assert not any(_uploads(tmp_path))
                refused = client.get(path_of("b", is_container=True))
                assert (refused.status, refused.error["code"]) == (503, "busy")
                assert int(refused.headers["retry-after"]) > 0
            answer = connection.recv(65536)
            assert answer.startswith(b"HTTP/1.1 503 ")
            assert b'"busy"' in answer
        assert client.get(path_of("b", "k")).status == 404
        assert client.put(path_of("b", "k"), b"again").status == 201
    finally:
        assert server.stop() == 0


def _uploads(tmp_path: Path) -> Iterator[Path]:
    """Yield the files that are being written."""
    return (path for path in tmp_path.glob("data/*/**/objects/main/*/*") if path.name[0] == ".")
