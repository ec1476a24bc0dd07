"""kill -9 in the middle of uploads: what was acknowledged is there, nothing is half there."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from modules.extensions import SweepReport
from tests.faults.filling import check_full_tenant
from tests.host.serving import Client, Server, path_of, wait_until
from tests.host.uploading import Uploaders, read_all
from zfsstore.host.catalog import Tenant
from zfsstore.host.config import Config
from zfsstore.host.services import open_services

TENANT = Tenant("administrator", "default")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """Return a server of the test's own, started; stopped whatever happens."""
    running = Server(tmp_path / "data").start()
    yield running
    running.stop()


def sweep(data_dir: Path, bucket: str, *, dry_run: bool) -> SweepReport:
    with open_services(Config(data_dir=data_dir)) as services:
        return services.objects.sweep(TENANT, bucket, older_than=timedelta(0), dry_run=dry_run)


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_a_worker_killed_during_puts(server: Server) -> None:
    try:
        client = server.client()
        assert client.put(path_of("b", is_container=True)).status == 201
        with Uploaders(server.client, "b", count=6) as uploads:
            for _ in range(3):
                reached = len(uploads.acknowledged) + 15
                wait_until(lambda reached=reached: len(uploads.acknowledged) >= reached)
                server.kill_worker()
        assert len(uploads.acknowledged) >= 45
        read_all(server.client(), "b", uploads)
    finally:
        server.stop()
    check_sweep(server.data_dir, "b", at_most=18)
    server.start()
    try:
        read_all(server.client(), "b", uploads)
    finally:
        server.stop()


def check_sweep(data_dir: Path, bucket: str, *, at_most: int) -> None:
    """A crash may leave files that nothing refers to, and never a key without data."""
    report = sweep(data_dir, bucket, dry_run=True)
    assert report.missing == ()
    assert len(report.unreferenced) <= at_most
    assert sweep(data_dir, bucket, dry_run=False).unreferenced == report.unreferenced
    assert sweep(data_dir, bucket, dry_run=True).unreferenced == ()


ODD_NAMES = [
    "plain.txt", "with blank", "per%cent", "plus+plus", "ünïcödé", "日本", "tab\there", "new\nline",
    "'quotes\"", "semi;colon&amp", "#hash?query", "~tilde", "-dash", "a" * 200, "back\\slash",
]  # fmt: skip


@pytest.mark.timeout(120)
def test_a_tree_uploaded_across_a_kill_of_the_whole_server(server: Server) -> None:
    rng = random.Random(7)
    tree = {
        (folder, name): rng.randbytes(rng.choice([0, 1, 5000, 66_000]))
        for folder in ("docs", "docs/a folder", "docs/a folder/ünï", "more")
        for name in ODD_NAMES
    }
    acknowledged: set[tuple[str, str]] = set()

    def upload(until: Callable[[], bool]) -> None:
        client = server.client()
        assert client.put(path_of("tree", is_container=True)).status in (201, 204)
        for folder in ("docs", "docs/a folder", "docs/a folder/ünï", "more"):
            path = path_of("tree", *folder.split("/"), is_container=True)
            assert client.put(path).status in (201, 204)
        for (folder, name), data in tree.items():
            if until():
                return
            answer = client.put(path_of("tree", *folder.split("/"), name), data)
            assert answer.status in (201, 204)
            acknowledged.add((folder, name))

    upload(lambda: len(acknowledged) == len(tree) // 2)
    stalled = server.client()  # an upload that is under way when the server dies
    thread = threading.Thread(target=_put_for_ever, args=(stalled, path_of("tree", "unfinished")))
    thread.start()
    server.kill()
    thread.join(30)
    server.start()
    try:
        client = server.client()
        assert client.get(path_of("tree", "unfinished")).status == 404
        for folder, name in acknowledged:
            got = client.get(path_of("tree", *folder.split("/"), name))
            assert (got.status, got.body) == (200, tree[folder, name])
        upload(lambda: False)
        for (folder, name), data in tree.items():
            got = client.get(path_of("tree", *folder.split("/"), name))
            assert (got.status, got.body) == (200, data)
    finally:
        assert server.stop() == 0
    check_sweep(server.data_dir, "tree", at_most=1)


def _put_for_ever(client: Client, path: str) -> None:
    def body() -> object:
        while True:
            yield b"x" * 1000

    try:
        client.request("PUT", path, body())  # type: ignore[arg-type]
    except Exception:
        return


@pytest.mark.timeout(120)
def test_a_full_tenant_gets_507_and_stays_usable(server: Server, tmp_path: Path) -> None:
    try:
        check_full_tenant(server, {"directory": str(tmp_path / "small")})
    finally:
        assert server.stop() == 0
