"""The whole host on PostgreSQL: its catalog, and the keys of a module without volumes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.host.serving import Client, Server, path_of, wait_until
from tests.host.uploading import Uploaders, read_all

pytestmark = pytest.mark.postgres

PASSWORD = "long enough"


@pytest.fixture
def server(tmp_path: Path, postgresql_url: str) -> Iterator[Server]:
    """Return a started server of two workers, with a tenant whose module has no volumes."""
    running = Server(tmp_path / "data", database_url=postgresql_url)
    running.start()
    admin = running.client()
    module = {
        "module": "simple.simple.SimpleStorage",
        "args": {"storage_dir": str(tmp_path / "objects")},
    }
    system = "system_configuration"
    assert admin.put_json(path_of(system, "vendor_modules", "plain"), module).status == 204
    user = {"policy": "plain", "password": PASSWORD}
    assert admin.put_json(path_of(system, "users", "acme"), user).status == 204
    try:
        assert client_of(running).put(path_of("b", is_container=True)).status == 201
        yield running
    finally:
        running.stop()


def client_of(server: Server) -> Client:
    return server.client("acme", PASSWORD)


def test_objects_are_put_listed_read_and_deleted(server: Server, tmp_path: Path) -> None:
    names = ["B", "a", "ab", "z", "\u00e9", "\U0001f600"]
    for number, name in enumerate(reversed(names)):  # a connection each: both workers answer
        answer = client_of(server).put(path_of("b", name), name.encode(), Content_Type="text/x")
        assert (number, answer.status) == (number, 201)
    clients = [client_of(server) for _ in range(8)]
    for client in clients:
        listed = client.get(path_of("b", is_container=True)).json()["children"]
        assert [child["name"] for child in listed] == names
        got = client.get(path_of("b", "\u00e9"))
        assert (got.body, got.headers["content-type"]) == ("\u00e9".encode(), "text/x")
    assert clients[0].put(path_of("b", "a"), b"new", If_None_Match="*").status == 412
    assert clients[0].put(path_of("b", "a"), b"new").status == 204
    assert {client.get(path_of("b", "a")).body for client in clients} == {b"new"}
    for name in names:
        assert clients[0].delete(path_of("b", name)).status == 204
    assert clients[1].delete(path_of("b", is_container=True)).status == 204
    assert not any(path.is_file() for path in (tmp_path / "objects").rglob("*"))
    assert not list(server.data_dir.glob("*.db"))


@pytest.mark.timeout(120)
def test_what_was_acknowledged_survives_kills(server: Server) -> None:
    """First of workers, then of the whole server."""
    with Uploaders(lambda: client_of(server), "b", count=6) as uploads:
        for _ in range(2):
            reached = len(uploads.acknowledged) + 15
            wait_until(lambda reached=reached: len(uploads.acknowledged) >= reached)
            server.kill_worker()
        reached = len(uploads.acknowledged) + 15
        wait_until(lambda: len(uploads.acknowledged) >= reached)
    server.kill()
    server.start()
    assert len(uploads.acknowledged) >= 45
    read_all(client_of(server), "b", uploads)


def test_a_change_by_the_other_worker_counts_with_the_next_request(server: Server) -> None:
    admins = [server.client() for _ in range(8)]
    user = path_of("system_configuration", "users", "acme")
    for number, admin in enumerate(admins):
        password = f"{PASSWORD} {number}"
        assert admin.put_json(user, {"password": password}).status == 204
        statuses = {server.client("acme", password).get("/cdmi/").status for _ in range(8)}
        assert (number, statuses) == (number, {200})


def test_connections_that_were_lost_are_replaced(server: Server, postgresql_url: str) -> None:
    import psycopg

    client = client_of(server)
    assert client.put(path_of("b", "o"), b"x").status == 201
    with psycopg.connect(postgresql_url.replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    wait_until(lambda: {client_of(server).get(path_of("b", "o")).status for _ in range(8)} == {200})
    assert client.put(path_of("b", "o"), b"y").status == 204
