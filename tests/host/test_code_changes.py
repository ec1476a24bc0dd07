"""Code that changes under a running server: one process never mixes, and two never differ."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.host.serving import ROOT, Answer, Client, Server, path_of, wait_until
from zfsstore.host.catalog import Catalog
from zfsstore.host.config import Config
from zfsstore.host.running import find_server, reload_workers

CODE = """
from simple.simple import SimpleStorage

class Store(SimpleStorage):
    def capabilities(self, context):
        return {{**super().capabilities(context), "code": {number}}}

class Only{number}(Store):
    pass
"""
MODULE = path_of("system_configuration", "vendor_modules", "vendor")
OBJECT = path_of("b", "object")


class Site:
    """A server with a vendor's module, whose code can be changed."""

    def __init__(self, folder: Path, *, workers: int) -> None:
        self.server = Server(folder / "data", workers=workers)
        self.config = Config(data_dir=self.server.data_dir)
        self.package = f"changing_{folder.name}".replace("-", "_")
        self.python_path = folder / "python"
        self.objects = folder / "objects"
        (self.python_path / self.package).mkdir(parents=True)
        self.write_code(1)

    def write_code(self, number: int) -> None:
        (self.python_path / self.package / "__init__.py").write_text(CODE.format(number=number))

    def spec(self, cls: str = "Store") -> dict[str, Any]:
        return {
            "module": f"{self.package}.{cls}",
            "args": {"storage_dir": str(self.objects)},
            "python_path": [str(self.python_path)],
        }

    def put_by_command(self, cls: str = "Store") -> subprocess.CompletedProcess[str]:
        """Configure the module with the command, in a process of its own as always."""
        spec = self.spec(cls)
        return self.command(
            *("module", "put", "vendor", spec["module"], "--args", json.dumps(spec["args"])),
            *("--python-path", str(self.python_path)),
        )

    def command(self, *argv: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "zfsstore.cli", "--data", str(self.server.data_dir), *argv],
            capture_output=True, text=True, timeout=60, cwd=ROOT,
        )  # fmt: skip

    def recorded(self) -> dict[str, str]:
        catalog = Catalog(self.config.catalog_url)
        try:
            return dict(catalog.get_module("vendor").code_digests)
        finally:
            catalog.close()

    def configured_class(self) -> str:
        name: str = self.server.client().get(MODULE).json()["module"]
        return name.rpartition(".")[2]

    def reload(self) -> None:
        old = set(self.server.workers())
        assert reload_workers(self.server.data_dir) == self.server.pid
        wait_until(
            lambda: not old & set(self.server.workers()) and len(self.server.workers()) == len(old)
        )

    def tenant_client(self) -> Client:
        """Return a client whose tenant's data goes to the vendor's module."""
        admin = self.server.client()
        spec = {"policy": "vendor", "password": "long enough"}
        assert admin.put_json(path_of("system_configuration", "users", "acme"), spec).status == 204
        return self.server.client("acme", "long enough")


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path, workers=2)
    yield made
    made.server.stop()


@pytest.fixture
def lone_site(tmp_path: Path) -> Iterator[Site]:
    """With one worker, so that it is known who answers."""
    made = Site(tmp_path, workers=1)
    yield made
    made.server.stop()


def all_answers(site: Site, spec: dict[str, Any]) -> list[Answer]:
    """Configure the module over so many connections that both workers answer."""
    return [site.server.client().put_json(MODULE, spec) for _ in range(16)]


@pytest.mark.slow
def test_http_refuses_it_until_a_reload(site: Site) -> None:
    """Python imports code once; what lies in the folder later is used after a graceful reload."""
    admin = site.server.start().client()
    assert admin.put_json(MODULE, site.spec()).status == 204
    site.write_code(2)
    for refused in all_answers(site, site.spec("Only2")):
        assert (refused.status, refused.error["code"]) == (409, "code_changed")
        assert "zfsstore reload" in refused.error["hint"]
    assert site.configured_class() == "Store"
    site.reload()
    for accepted in all_answers(site, site.spec("Only2")):
        assert accepted.status == 204


@pytest.mark.slow
def test_the_command_refuses_it_until_a_reload(site: Site) -> None:
    admin = site.server.start().client()
    assert admin.put_json(MODULE, site.spec()).status == 204
    recorded = site.recorded()
    site.write_code(2)
    refused = site.put_by_command("Only2")
    assert refused.returncode == 1
    assert "changed since" in refused.stderr
    assert "zfsstore reload" in refused.stderr
    assert site.configured_class() == "Store"
    assert site.recorded() == recorded
    site.write_code(1)  # code that was put back is code that did not change
    assert site.put_by_command().returncode == 0
    site.write_code(2)
    site.reload()
    assert site.put_by_command("Only2").returncode == 0
    assert {answer.status for answer in all_answers(site, site.spec("Only2"))} == {204}


@pytest.mark.slow
def test_no_other_command_records_it(site: Site) -> None:
    admin = site.server.start().client()
    assert admin.put_json(MODULE, site.spec()).status == 204
    recorded = site.recorded()
    site.write_code(2)
    for argv in (("module", "list"), ("sweep",)):
        assert site.command(*argv).returncode == 0
    assert site.recorded() == recorded


@pytest.mark.slow
def test_without_a_server_the_command_takes_it(site: Site) -> None:
    site.server.start()
    assert site.put_by_command().returncode == 0
    assert site.server.stop() == 0
    site.write_code(2)
    assert site.put_by_command("Only2").returncode == 0
    site.server.start()
    assert site.configured_class() == "Only2"
    assert site.tenant_client().put(path_of("b", is_container=True)).status == 201


@pytest.mark.slow
def test_a_server_starts_with_what_is_there(site: Site) -> None:
    site.server.start()
    assert site.put_by_command().returncode == 0
    recorded = site.recorded()
    assert site.server.stop() == 0
    site.write_code(2)
    site.server.start()
    assert site.recorded() != recorded
    assert site.server.client().put_json(MODULE, site.spec("Only2")).status == 204


@pytest.mark.slow
def test_a_worker_started_after_a_crash_runs_no_other_code(lone_site: Site) -> None:
    """Two workers with different code could write what the other cannot read."""
    site = lone_site
    assert site.server.start().client().put_json(MODULE, site.spec()).status == 204
    client = site.tenant_client()
    assert client.put(path_of("b", is_container=True)).status == 201
    assert client.put(OBJECT, b"x").status == 201
    site.write_code(2)
    assert client.get(OBJECT).status == 200
    site.server.kill_worker()
    client = site.server.client("acme", "long enough")
    for refused in (client.get(OBJECT), client.put(OBJECT, b"y")):
        assert (refused.status, refused.error["code"]) == (503, "unavailable")
        assert "zfsstore reload" in refused.error["hint"]
        assert str(site.python_path) not in refused.body.decode()
    assert f"the code in {site.python_path} changed" in site.server.log()
    assert site.server.client().get(path_of("system_configuration", "users", "")).status == 200
    site.reload()
    assert site.server.client("acme", "long enough").get(OBJECT).body == b"x"


@pytest.mark.slow
def test_a_reload_signals_nobody_but_the_server(site: Site, tmp_path: Path) -> None:
    assert find_server(tmp_path / "absent") is None
    site.server.start()
    assert find_server(site.server.data_dir) == site.server.pid
    assert (
        site.command("reload").stdout == f"told process {site.server.pid} to replace its workers\n"
    )
    site.server.kill()
    assert find_server(site.server.data_dir) is None
    after = site.command("reload")
    assert after.returncode == 1
    assert "no server runs on this data folder; check --data" in after.stderr


def test_a_reload_while_the_server_prepares_does_not_end_it(tmp_path: Path) -> None:
    """Between lock and first worker nobody handles the signal but by ending."""
    program = (
        "import sys, time; from pathlib import Path; from zfsstore.host import running; "
        "running.hold_server_lock(Path(sys.argv[1])); print('held', flush=True); time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "held\n"
            assert reload_workers(tmp_path) == process.pid
            assert find_server(tmp_path) == process.pid
        finally:
            process.kill()
