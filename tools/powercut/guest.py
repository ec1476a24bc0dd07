"""One boot of the virtual machine: check what the cut before left, then write until the next.

usage: python -m tools.powercut.guest PLAN.json

Prints "checked SITE JSON" for each check, "loading", then an "ack" line for each acknowledged
step. Each phase runs in a forked process: importing the host takes seconds in an emulated
machine, and whoever loads must have opened nothing before.
"""

from __future__ import annotations

import json
import os
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final, NoReturn

from modules import state
from tools.powercut.clients import Client
from tools.powercut.judge import Verdict, check_database, judge
from tools.powercut.load import report_to, run_clients
from tools.powercut.machine import BAD_STATUS
from tools.powercut.stores import TENANT, HttpStore, ServiceStore, Site
from zfsstore.cli.main import main as zfsstore
from zfsstore.host.bootstrap import bootstrap
from zfsstore.host.config import Config
from zfsstore.host.services import open_services

POOL: Final = "tank"
DEVICE: Final = "/dev/vda"
_DATA: Final = Path(f"/{POOL}/host/data")
_PORT: Final = 8080
_PASSWORD: Final = "a password of nobody"  # noqa: S105 - of a machine that lives for a minute
_TXG_TIMEOUT: Final = Path("/sys/module/zfs/parameters/zfs_txg_timeout")
_START_TIMEOUT_S: Final = 120.0
_say: Final = report_to(1)


def main() -> int:
    plan = json.loads(Path(sys.argv[1]).read_text())
    if plan["create"]:
        _run("zpool", "create", "-f", "-m", f"/{POOL}", POOL, DEVICE)
        _run("zfs", "create", f"{POOL}/host")
        _create_site("store")
        _wait(_fork(_create_host))
    else:
        _run("zpool", "import", "-f", "-d", "/dev", POOL)
    positions, is_good = _check_all(plan["checks"])
    if plan["load"] and is_good:
        _load(plan["load"], positions)
    return 0 if is_good else BAD_STATUS


def _check_all(checks: list[dict[str, Any]]) -> tuple[dict[str, dict[str, Client]], bool]:
    """Check each site; return where its clients are, and whether everything is as it must be."""
    positions, is_good = {}, True
    for check in checks:
        verdict = _judged(check)
        if not check["may_lose"]:
            verdict.problems += _pool_problems()
            is_good = is_good and not verdict.problems and not verdict.lost
        _say(f"checked {check['site']} {json.dumps(verdict.to_dict())}\n")
        positions[check["site"]] = verdict.clients
    return positions, is_good


def _judged(check: dict[str, Any]) -> Verdict:
    reader, writer = os.pipe()

    def work() -> None:
        clients = [Client.from_dict(client) for client in check["clients"]]
        verdict = judge(_site(check["site"]), clients, check["acknowledged"])
        verdict.problems += check_database(_DATA / "catalog.db")
        with open(writer, "w", closefd=False) as pipe:
            json.dump(verdict.to_dict(), pipe)

    child = _fork(work)
    os.close(writer)
    with open(reader) as pipe:
        text = pipe.read()
    _wait(child)
    return Verdict.from_dict(json.loads(text))


def _pool_problems() -> list[str]:
    _run("zpool", "scrub", "-w", POOL)
    status = _run("zpool", "status", "-x", POOL)
    return [] if "is healthy" in status else [f"the pool is not healthy: {status}"]


def _load(load: dict[str, Any], positions: dict[str, dict[str, Client]]) -> NoReturn:
    """Write until the power is cut."""
    if load["create"]:
        _create_site(load["site"], *load["options"])
    known = positions.get(load["site"], {})
    clients = [known.get(name) or Client(load["seed"], name) for name in load["clients"]]
    _TXG_TIMEOUT.write_text(f"{load['txg_timeout_s']}\n")
    if load["http"]:
        server = _fork(_serve)
        _wait_for_server()
        children = [server, _fork(lambda: run_clients(_http_store, clients, _say))]
        _run("zpool", "sync", POOL)
    else:
        _run("zpool", "sync", POOL)
        parts = (clients[::2], clients[1::2])
        children = [_fork(partial(_load_service, load, part)) for part in parts]
    _say("loading\n")
    child, status = os.wait()
    _say(f"error process {children.index(child)} ended with status {status}\n")
    sys.exit(1)


def _load_service(load: dict[str, Any], clients: list[Client]) -> None:
    if load["unsynced_index"]:
        _do_not_sync_indexes()
    with _site(load["site"]).service() as service:
        run_clients(lambda: ServiceStore(service), clients, _say)


def _do_not_sync_indexes() -> None:
    """Let SQLite leave out its fsyncs, as a store would that gets this one setting wrong."""
    connect = state.connect

    def connect_without_sync(path: Path) -> sqlite3.Connection:
        connection = connect(path)
        connection.execute("PRAGMA synchronous=OFF")
        return connection

    state.connect = connect_without_sync


def _http_store() -> HttpStore:
    return HttpStore(_PORT, _PASSWORD)


def _serve() -> None:
    os.dup2(2, 1)
    sys.exit(zfsstore(["--data", str(_DATA), "serve", "--listen", f"127.0.0.1:{_PORT}"]))


def _wait_for_server() -> None:
    deadline = time.monotonic() + _START_TIMEOUT_S
    while True:
        try:
            socket.create_connection(("127.0.0.1", _PORT)).close()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
        else:
            return


def _create_site(name: str, *options: str) -> None:
    _run("zfs", "create", *options, f"{POOL}/{name}")
    _wait(_fork(lambda: _site(name).create()))


def _create_host() -> None:
    """Make a data directory whose module and tenant are those of the site "store"."""
    config = Config(data_dir=_DATA)
    bootstrap(config)
    with open_services(config) as services:
        spec = {"module": "zfsstore.ZFSStorage", "args": {"dataset": f"{POOL}/store"}}
        services.administration.put_module(TENANT.policy, spec)
        services.administration.create_user(TENANT.name, policy=TENANT.policy, password=_PASSWORD)


def _site(name: str) -> Site:
    return Site(f"/{POOL}/host/names.db", dataset=f"{POOL}/{name}")


def _fork(work: Callable[[], object]) -> int:
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        work()
        status = 0
    except SystemExit as stop:
        status = int(stop.code or 0)
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        os._exit(status)


def _wait(child: int) -> None:
    _, status = os.waitpid(child, 0)
    if status:
        sys.exit(f"a phase of this boot ended with status {status}")


def _run(*argv: str) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(argv)}: {done.stderr.strip()}")
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
