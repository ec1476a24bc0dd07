"""Debian's Apache with mod_wsgi in daemon mode, all of it as one unprivileged user."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path

APACHE = "/usr/sbin/apache2"
MODULES = Path("/usr/lib/apache2/modules")
SITE = Path(__file__).parents[2] / "examples" / "apache" / "zfsstore.conf"

_MAIN_CONFIG = """\
ServerRoot "{folder}"
ServerName localhost
PidFile "{folder}/apache.pid"
ErrorLog "{folder}/error.log"
LogLevel warn wsgi:info
LoadModule mpm_event_module {modules}/mod_mpm_event.so
LoadModule authz_core_module {modules}/mod_authz_core.so
LoadModule wsgi_module {modules}/mod_wsgi.so
WSGISocketPrefix "{folder}/wsgi"
Timeout 20
{definitions}
Include "{site}"
"""


def unprivileged_user() -> pwd.struct_passwd:
    """Return who Apache runs as: Debian's www-data for root, otherwise whoever runs the tests."""
    return pwd.getpwnam("www-data") if os.geteuid() == 0 else pwd.getpwuid(os.geteuid())


def give(path: Path, user: pwd.struct_passwd) -> None:
    """Make *path* and all below it the property of *user*, where this process may."""
    if os.geteuid() != 0:
        return
    for one in (path, *path.rglob("*")):
        os.chown(one, user.pw_uid, user.pw_gid, follow_symlinks=False)


class Apache:
    """One server on a free port of 127.0.0.1, configured by examples/apache/zfsstore.conf."""

    def __init__(
        self,
        folder: Path,
        *,
        port: int,
        venv: Path,
        script: Path,
        python_path: str,
        env: Mapping[str, str],
    ) -> None:
        self.folder = folder
        self.user = unprivileged_user()
        self.port = port
        self._env = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", **env}
        self._process: subprocess.Popen[bytes] | None = None
        definitions = {
            "ZFSSTORE_ADDRESS": f"127.0.0.1:{self.port}",
            "ZFSSTORE_VENV": venv,
            "ZFSSTORE_USER": self.user.pw_name,
            "ZFSSTORE_SCRIPT": script,
            "ZFSSTORE_PYTHON_PATH": python_path,
        }
        self._config = folder / "apache.conf"
        self._config.write_text(
            _MAIN_CONFIG.format(
                folder=folder,
                modules=MODULES,
                site=_copy_of_site(folder),
                definitions="\n".join(f'Define {k} "{v}"' for k, v in definitions.items()),
            )
        )
        give(folder, self.user)

    def start(self) -> None:
        """Return once the server accepts connections."""
        is_root = os.geteuid() == 0
        command = [APACHE, "-f", str(self._config), "-DFOREGROUND"]
        self._process = subprocess.Popen(
            command,
            env=self._env,
            cwd="/",
            stdin=subprocess.DEVNULL,
            user=self.user.pw_uid if is_root else None,
            group=self.user.pw_gid if is_root else None,
            extra_groups=[] if is_root else None,
        )
        wait_for_port(self.port, self._process, self.log)

    def stop(self) -> None:
        """Stop the server and every process of it; silent when it does not run."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(30)
        self._process = None

    def kill_workers(self) -> None:
        """Kill -9 every process of the server but the first, which starts new ones."""
        kill_children(self._process)

    def log(self) -> str:
        """Return what Apache and the application wrote to the error log."""
        path = self.folder / "error.log"
        return path.read_text(errors="replace") if path.exists() else ""


def _copy_of_site(folder: Path) -> Path:
    """Return a copy that the server's user can read, wherever this checkout lies."""
    return Path(shutil.copy(SITE, folder / SITE.name))


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for_port(port: int, process: subprocess.Popen[bytes], log: Callable[[], str]) -> None:
    """Return once *process* accepts connections; fail with its log when it ends before."""
    deadline = time.monotonic() + 30
    while True:
        with socket.socket() as probe:
            probe.settimeout(1)
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            raise RuntimeError(f"the server did not start:\n{log()}")
        time.sleep(0.05)


def kill_children(process: subprocess.Popen[bytes] | None) -> None:
    """Kill -9 every child of *process*."""
    assert process is not None, "the server does not run"
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    assert children, "the server has no workers"
    for child in children:
        os.kill(int(child), signal.SIGKILL)
