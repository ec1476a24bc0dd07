"""A PostgreSQL server of the tests' own, on a free port, as an unprivileged user."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit


def find_binaries() -> Path | None:
    """Return the directory of initdb and postgres; Debian keeps it out of PATH."""
    found = shutil.which("initdb")
    if found is not None:
        return Path(found).resolve().parent
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return versions[-1].parent if versions else None


def _unprivileged() -> dict[str, Any]:
    """Return how to start a process that is not root, which PostgreSQL refuses to run as."""
    if os.geteuid() != 0:
        return {}
    user = pwd.getpwnam("nobody")
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


@contextmanager
def running_server(binaries: Path) -> Iterator[str]:
    """Give the URL of the first database of a new server, which sorts text as people do."""
    with tempfile.TemporaryDirectory() as name:  # pytest's own are closed to other users
        directory = Path(name)
        if os.geteuid() == 0:
            os.chown(directory, *pwd.getpwnam("nobody")[2:4])
        options: dict[str, Any] = {"cwd": "/", "stdout": subprocess.DEVNULL, **_unprivileged()}
        sorting = ("-E", "UTF8", "--locale=C", "--locale-provider=icu", "--icu-locale=en")
        initdb = (binaries / "initdb", "-D", directory / "data", "-U", "test", "-A", "trust")
        subprocess.run([*initdb, *sorting, "--no-sync"], check=True, **options)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = str(probe.getsockname()[1])
        process = subprocess.Popen(
            [binaries / "postgres", "-D", directory / "data", "-p", port, "-k", ""],
            stderr=subprocess.DEVNULL,
            **options,
        )
        try:
            ready = f"until {binaries}/pg_isready -q -h 127.0.0.1 -p {port}; do sleep 0.1; done"
            subprocess.run(["timeout", "60", "sh", "-c", ready], check=True)
            yield f"postgresql+psycopg://test@127.0.0.1:{port}/postgres"
        finally:
            process.send_signal(signal.SIGINT)  # it ends connections that a failed test left
            process.wait(60)


def create_database(server: str, name: str) -> str:
    """Return the URL of a new, empty database."""
    import psycopg

    address = urlsplit(server)
    with psycopg.connect(
        host=address.hostname, port=address.port, user=address.username, dbname="postgres",
        autocommit=True,
    ) as connection:  # fmt: skip
        connection.execute(f'CREATE DATABASE "{name}"'.encode())
    return server.removesuffix("postgres") + name
