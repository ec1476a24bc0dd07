"""A systemd for the units alone, in the virtual machine of tools/zfs-vm.

It is process 1 of a PID and a cgroup namespace and reads one directory of units. The machine's /run
is its own. What is mounted below a shared mount is seen on both sides.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from tests.host.serving import ROOT, wait_until

UNITS: Final = ROOT / "systemd"
PROGRAM: Final = Path("/lib/systemd/systemd")
DIRECTORY: Final = Path("/run/zfsstore-units")
STATE: Final = Path("/run/systemd")

_TARGETS: Final = ("basic", "sysinit", "sockets", "multi-user", "shutdown")
_CGROUP: Final = Path("/sys/fs/cgroup/zfsstore-test")
_BOOT: Final = f"""
echo $$ >{_CGROUP}/cgroup.procs
exec unshare --mount --propagation unchanged --pid --fork --kill-child --cgroup --uts --ipc sh -ec '
    umount /sys/fs/cgroup
    mount -t cgroup2 cgroup2 /sys/fs/cgroup
    mount -t proc proc /proc
    mount --make-rshared /
    exec env -i container=other SYSTEMD_UNIT_PATH={DIRECTORY} {PROGRAM} \
        --system --unit=basic.target --log-target=console --show-status=no'
"""


def missing() -> str:
    """Return what a systemd cannot run without here, or nothing."""
    if not PROGRAM.exists() or shutil.which("systemctl") is None:
        return "needs the package systemd"
    if os.geteuid() != 0 or not Path("/sys/fs/cgroup/cgroup.procs").exists():
        return "needs root and cgroup2 at /sys/fs/cgroup"
    return ""


class Systemd:
    """Runs from start() to end().

    Args:
        directory: for its log.
    """

    def __init__(self, directory: Path) -> None:
        self.log = directory / "systemd.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Boot it, with the targets that units name and nothing in them."""
        DIRECTORY.mkdir()
        for name in _TARGETS:
            shutil.copy(PROGRAM.parent / "system" / f"{name}.target", DIRECTORY)
        _CGROUP.mkdir()
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(["sh", "-ec", _BOOT], stdout=log, stderr=log)
        wait_until(lambda: (STATE / "private").exists() or self._process_ended())
        assert not self._process_ended(), self.log.read_text()

    def end(self) -> None:
        """Kill it and with it all that it runs; leave nothing behind."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(60)
        for path, _names, _files in os.walk(_CGROUP, topdown=False):
            wait_until(lambda path=path: _is_removed(path))
        shutil.rmtree(DIRECTORY)
        shutil.rmtree(STATE, ignore_errors=True)

    def call(self, *arguments: str) -> str:
        """Run systemctl and return what it printed."""
        inside = ["nsenter", f"--target={self._first()}", "--mount", "--pid", "--cgroup"]
        done = subprocess.run(
            [*inside, "systemctl", *arguments], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{arguments}: {done.stderr}\n{self.log.read_text()}"
        return done.stdout.strip()

    def show(self, unit: str, name: str) -> str:
        """Return a property of a unit."""
        return self.call("show", "--value", "-p", name, unit)

    def process(self, unit: str) -> Path:
        """Return the directory in /proc, as seen from here, of a service's main process."""
        group = _CGROUP / self.show(unit, "ControlGroup").lstrip("/")
        return Path("/proc", (group / "cgroup.procs").read_text().split()[0])

    def _first(self) -> str:
        """Return the number, here, of the process that is number 1 in there."""
        assert self._process is not None
        unshare = self._process.pid
        return Path(f"/proc/{unshare}/task/{unshare}/children").read_text().split()[0]

    def _process_ended(self) -> bool:
        return self._process is not None and self._process.poll() is not None


def _is_removed(path: str) -> bool:
    with suppress(OSError):
        os.rmdir(path)
    return not os.path.exists(path)


def let_others_in() -> None:
    """Let every user reach the checkout and the interpreter; the root is a throw-away layer."""
    for place in (ROOT, Path(sys.prefix), Path(sys.base_prefix).resolve()):
        for path in (place, *place.parents):
            path.chmod(path.stat().st_mode | 0o011)


def as_user(uid: int, gid: int, action: Callable[[], None]) -> None:
    """Do something as another user, in a process that is a copy of this one."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.setgroups([])
            os.setresgid(gid, gid, gid)
            os.setresuid(uid, uid, uid)
            action()
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
