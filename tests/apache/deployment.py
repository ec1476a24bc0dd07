"""The host installed for Debian's own Python, served by Apache and by its own server."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import time
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tests.apache.apache import (
    Apache,
    free_port,
    give,
    kill_children,
    unprivileged_user,
    wait_for_port,
)
from tests.packaging.building import (
    ROOT,
    build_egg,
    build_wheel,
    copy_of_newstore,
    copy_of_project,
)

ALICE = "alice:correct horse battery"
SYSTEM_PYTHON = "/usr/bin/python3"
"""What mod_wsgi is built for."""


@dataclass(frozen=True)
class Installation:
    """A virtual environment with the host, and newstore as egg and wheel, readable by anybody."""

    folder: Path
    egg: Path
    wheel: Path

    @property
    def venv(self) -> Path:
        return self.folder / "venv"

    @classmethod
    def create(cls, folder: Path, building: Path) -> Installation:
        """Install into *folder*; what is built on the way goes into *building*."""
        host = build_wheel(copy_of_project(building))
        venv = folder / "venv"
        python = str(venv / "bin" / "python")
        subprocess.run([SYSTEM_PYTHON, "-m", "venv", str(venv)], check=True)
        pip = [python, "-m", "pip", "-q", "--disable-pip-version-check", "install"]
        pip += ["-c", str(ROOT / "constraints.txt")]
        subprocess.run([*pip, f"{host}[fast]", "setuptools"], check=True, timeout=240)
        newstore = copy_of_newstore(building)
        egg = build_egg(newstore, python=python)
        wheel = build_wheel(newstore, python=python)
        shutil.copy(ROOT / "examples" / "apache" / "host.wsgi", folder)
        return cls(
            folder, egg=Path(shutil.copy(egg, folder)), wheel=Path(shutil.copy(wheel, folder))
        )


@dataclass(frozen=True)
class Answer:
    """What a client got."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> object:
        return json.loads(self.body)


class Server(Protocol):
    """Something that listens on a port and can be stopped and started again."""

    port: int

    def start(self) -> None: ...
    def stop(self) -> None: ...
    def kill_workers(self) -> None: ...
    def log(self) -> str: ...


class OwnServer:
    """`zfsstore serve`, as the same user that Apache runs as."""

    def __init__(self, installation: Installation, folder: Path, settings: Path, port: int) -> None:
        self.port = port
        self._folder = folder
        program = installation.venv / "bin" / "zfsstore"
        self._command = [str(program), "--config", str(settings), "serve"]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        user = unprivileged_user()
        is_root = os.geteuid() == 0
        with (self._folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                user=user.pw_uid if is_root else None,
                group=user.pw_gid if is_root else None,
                extra_groups=[] if is_root else None,
            )
        wait_for_port(self.port, self._process, self.log)

    def stop(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait(40)
            self._process = None

    def kill_workers(self) -> None:
        """Kill -9 every process of the server but the first, which starts new ones."""
        kill_children(self._process)

    def log(self) -> str:
        return (self._folder / "server.log").read_text(errors="replace")


class Deployment:
    """One data folder, one server on it, and a client for both kinds of user."""

    def __init__(self, installation: Installation, folder: Path, kind: str, archive: Path) -> None:
        self.store = folder / "newstore"
        self._data = folder / "data"
        self._data.mkdir()
        settings = folder / "zfsstore.toml"
        port = free_port()
        lines = [f'data_dir = "{self._data}"', f'listen = "127.0.0.1:{port}"']
        if kind == "gunicorn":
            lines.append(f'python_path = ["{archive}"]')
        settings.write_text("\n".join(lines) + "\n")
        self.server: Server
        if kind == "gunicorn":
            self.server = OwnServer(installation, folder, settings, port)
            give(folder, unprivileged_user())
        else:
            self.server = Apache(
                folder,
                port=port,
                venv=installation.venv,
                script=installation.folder / "host.wsgi",
                python_path=str(archive),
                env={"ZFSSTORE_CONFIG": str(settings)},
            )

    def wait_until_ready(self) -> None:
        """Return when the application answers: Apache's processes load it after they listen."""
        deadline = time.monotonic() + 60
        while not self._is_ready():
            assert time.monotonic() < deadline, self.server.log()
            time.sleep(0.1)

    def _is_ready(self) -> bool:
        try:
            return self.request("GET", "/cdmi/", user=None).status == 401
        except (OSError, http.client.HTTPException):  # a worker was just killed
            return False

    def provision(self) -> None:
        """Register newstore, make a user whose data goes there, and a container."""
        self.register()
        name, _, password = ALICE.partition(":")
        user = {"policy": "newstore", "password": password}
        self.succeed(f"/cdmi/system_configuration/users/{name}", self.administrator(), user)
        self.succeed("/cdmi/box/", ALICE)

    def register(self, **args: object) -> None:
        """Register newstore, or register it anew with other arguments."""
        module = {
            "module": "newstore.newstore.NewStorage",
            "label": "New Storage Module",
            "args": {"storage_dir": str(self.store), **args},
        }
        path = "/cdmi/system_configuration/vendor_modules/newstore"
        assert 204 == self.succeed(path, self.administrator(), module).status

    def succeed(self, path: str, user: str, body: object = None) -> Answer:
        """PUT JSON, or nothing, and insist on success."""
        content = b"" if body is None else json.dumps(body).encode()
        answer = self.request("PUT", path, user=user, body=content)
        assert answer.status // 100 == 2, f"{path}: {answer}\n{self.server.log()}"
        return answer

    def administrator(self) -> str:
        password = (self._data / "administrator.password").read_text().strip()
        return f"administrator:{password}"

    def request(
        self,
        method: str,
        path: str,
        *,
        user: str | None,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Send one request; *user* is "name:password"."""
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=60)
        fields = dict(headers or {})
        if user is not None:
            fields["Authorization"] = basic(user)
        try:
            connection.request(method, path, body=body, headers=fields)
            response = connection.getresponse()
            content = response.read()
        finally:
            connection.close()
        named = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, named, content)

    def connect(self) -> socket.socket:
        """Return a connection to send bytes on, for a client that misbehaves."""
        return socket.create_connection(("127.0.0.1", self.server.port), timeout=60)


def basic(user: str) -> str:
    """Return the Authorization header of "name:password"."""
    return "Basic " + b64encode(user.encode()).decode()
