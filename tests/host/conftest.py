"""One real server for all tests of the host that do not stop it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.host import on_datasets
from tests.host.objectservice import Site
from tests.host.postgresql import create_database, find_binaries, running_server
from tests.host.serving import Client, Server, path_of


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    stall_timeout_s = 60.0 if on_datasets.is_wanted() else 1.5  # an emulated machine stalls itself
    data_dir = tmp_path_factory.mktemp("host") / "data"
    running = Server(data_dir, stall_timeout_s=stall_timeout_s)
    running.start()
    yield running
    assert running.stop() == 0


@pytest.fixture
def admin(server: Server) -> Client:
    return server.client()


_numbers = itertools.count(1)


@pytest.fixture
def bucket(admin: Client) -> str:
    """Return the name of a new, empty bucket of the administrator."""
    name = f"bucket {next(_numbers)}"
    assert admin.put(path_of(name, is_container=True)).status == 201
    return name


@pytest.fixture(scope="session")
def shared_bucket(server: Server) -> str:
    """Return a bucket for tests that look at their own keys only."""
    assert server.client().put(path_of("shared", is_container=True)).status == 201
    return "shared"


@pytest.fixture
def path(shared_bucket: str) -> str:
    """Return the address of an object that does not exist."""
    return path_of(shared_bucket, f"object {next(_numbers)}")


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    """Return the URL of a database of a PostgreSQL server of our own."""
    pytest.importorskip("psycopg", reason="psycopg is not installed (extra postgres)")
    binaries = find_binaries()
    if binaries is None:
        pytest.skip("PostgreSQL is not installed")
    with running_server(binaries) as url:
        yield url


@pytest.fixture
def postgresql_url(postgresql: str) -> str:
    """Return the URL of a database that nobody has used."""
    return create_database(postgresql, f"test{next(_numbers)}")


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """Return an object service without a server."""
    opened = Site.make(tmp_path)
    yield opened
    opened.service.close()
