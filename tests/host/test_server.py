"""Starting, stopping and reloading the real server."""

from __future__ import annotations

import json
import multiprocessing
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.host.serving import _PROGRAM, ROOT, Client, Server, path_of, wait_until
from zfsstore.host.bootstrap import bootstrap
from zfsstore.host.config import Config
from zfsstore.host.running import reload_workers
from zfsstore.host.services import open_services


def serve_and_fail(tmp_path: Path, **settings: object) -> str:
    """Return what a server that cannot start says; its exit status is not 0."""
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, json.dumps(settings)],
        capture_output=True, text=True, timeout=30, cwd=ROOT,
    )  # fmt: skip
    assert done.returncode != 0
    assert "serves" not in done.stdout
    return done.stderr


def test_two_servers_on_one_data_directory(server: Server, tmp_path: Path) -> None:
    said = serve_and_fail(tmp_path, data_dir=str(server.data_dir), listen="127.0.0.1:0")
    assert "a server runs there already" in said
    assert server.client().get("/cdmi/").status == 200


def test_a_data_directory_that_cannot_be_one(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    said = serve_and_fail(tmp_path, data_dir=str(tmp_path / "file"), listen="127.0.0.1:0")
    assert str(tmp_path / "file") in said
    assert "prepare data directory" in said


@pytest.mark.slow
def test_many_processes_start_a_new_store_at_once(tmp_path: Path) -> None:
    """Under Apache every process calls create_app; one must win, the others find it done."""
    config = Config(data_dir=tmp_path / "data")
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=bootstrap, args=(config,)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    check_password(config)


def test_a_first_start_that_was_interrupted_is_completed(tmp_path: Path) -> None:
    config = Config(data_dir=tmp_path / "data")
    config.data_dir.mkdir()
    config.password_file.write_text("written before the crash\n")
    bootstrap(config)
    check_password(config)
    assert config.password_file.read_text() == "written before the crash\n"


def test_a_second_start_changes_nothing(tmp_path: Path) -> None:
    config = Config(data_dir=tmp_path / "data")
    bootstrap(config)
    with open_services(config) as services:
        revision = services.catalog.revision()
    config.password_file.unlink()  # the operator keeps it elsewhere
    bootstrap(config)
    assert not config.password_file.exists()
    with open_services(config) as services:
        assert services.catalog.revision() == revision


def check_password(config: Config) -> None:
    from tests.host.test_auth import basic

    with open_services(config) as services:
        password = config.password_file.read_text().strip()
        identity = services.authenticator().authenticate(basic("administrator", password))
        identity.require_administrator()
        assert [module.name for module in services.catalog.list_modules()] == ["default"]


@pytest.mark.slow
@pytest.mark.timeout(60)
def test_a_reload_cuts_nothing_off(tmp_path: Path) -> None:
    server = Server(tmp_path / "data").start()
    try:
        client = server.client()
        client.put(path_of("b", is_container=True))
        released = threading.Event()
        answers: list[int] = []

        def slow_body() -> object:
            yield b"first half, "
            released.wait(30)
            yield b"second half"

        def upload() -> None:
            answer = server.client().request("PUT", path_of("b", "slow"), slow_body())  # type: ignore[arg-type]
            answers.append(answer.status)

        thread = threading.Thread(target=upload)
        thread.start()
        wait_until(lambda: _is_receiving(server))
        old = set(server.workers())
        reload_workers(server.data_dir)
        wait_until(lambda: len(set(server.workers()) - old) == 2)
        assert server.client().get("/cdmi/").status == 200
        released.set()
        thread.join(30)
        assert answers == [201]
        assert server.client().get(path_of("b", "slow")).body == b"first half, second half"
        wait_until(lambda: not old & set(server.workers()))
    finally:
        assert server.stop() == 0


def _is_receiving(server: Server) -> bool:
    return any((server.data_dir / "objects").rglob(".tmp-*"))


@pytest.mark.timeout(60)
def test_a_unix_socket(tmp_path: Path) -> None:
    """Listening there, the greeting's commands work as well."""
    data_dir = tmp_path / "d"
    listen = f"unix:{tmp_path}/s"
    settings = json.dumps({"data_dir": str(data_dir), "listen": listen, "workers": 1})
    with subprocess.Popen(
        [sys.executable, "-c", _PROGRAM, settings], stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as process:
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            lines.append(line.strip())
            if "hostname" in line:
                break
        try:
            for line in lines:
                if line.startswith("curl"):
                    subprocess.run(f"{line} -sSf", shell=True, check=True, timeout=30)
        finally:
            process.terminate()
            assert process.wait(30) == 0


def test_keep_alive_connections_survive_idle_requests(server: Server) -> None:
    with socket.create_connection(("127.0.0.1", server.port), 10) as connection:
        client = Client(server.port, "administrator", server.password)
        for _ in range(3):
            connection.sendall(client.head_of("HEAD", "/cdmi/"))
            assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")
