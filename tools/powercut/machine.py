"""The virtual machine whose power is cut."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tools.powercut.load import parse_ack

ROOT: Final = Path(__file__).resolve().parents[2]
BOOT_TIMEOUT_S: Final = 400
_WRITES: Final = re.compile(r"(\d+) writes kept, (\d+) unflushed ones lost")
CUT_STATUS: Final = 137
BAD_STATUS: Final = 3
"""The guest's, when a check found something: there is no load then."""


@dataclass(frozen=True, slots=True)
class Cut:
    """When to cut: so long after so many acknowledgements."""

    after_acks: int
    delay_s: float


@dataclass(slots=True)
class Boot:
    """What one boot told until its end.

    Attributes:
        checked: the judge's verdicts by site, as dictionaries.
        acknowledged: the last acknowledged step of each client.
        lost_writes: of the disk, not flushed and dropped by the cut.
        error: why this boot was no good, None when it did what it was for.
    """

    checked: dict[str, dict[str, Any]] = field(default_factory=dict)
    acknowledged: dict[str, int] = field(default_factory=dict)
    acks: int = 0
    lost_writes: int = 0
    was_loaded: bool = False
    error: str | None = None


class Machine:
    """One disk and the boots on it.

    Args:
        folder: for disk and plans; on a real disk, not in /tmp, which the guest cannot see.
        command: starts a virtual machine: tools/zfs-vm/run, or that after a command that waits.
    """

    def __init__(self, folder: Path, command: Sequence[str]) -> None:
        self.folder = folder
        self.disk = folder / "disk"
        self._command = command
        self._pid_file = folder / "pid"
        self._boots = 0
        folder.mkdir(parents=True)

    def boot(self, plan: dict[str, Any], cut: Cut | None) -> Boot:
        """Boot, let the guest carry out *plan*, cut the power if there is a load.

        The disk as it was before stays as ``disk.before-boot``.
        """
        self._boots += 1
        if self.disk.exists():
            copy = ["cp", "--sparse=always", "--reflink=auto", str(self.disk)]
            subprocess.run([*copy, f"{self.disk}.before-boot"], check=True)
        plan_file = self.folder / f"plan-{self._boots}.json"
        plan_file.write_text(json.dumps(plan))
        errors = self.folder / f"boot-{self._boots}.log"
        with errors.open("w") as log:
            process = subprocess.Popen(
                self._argv(plan_file), stdout=subprocess.PIPE, stderr=log, text=True, cwd=ROOT
            )
            try:
                boot = self._follow(process, cut)
            finally:
                if process.poll() is None:
                    process.terminate()
                status = process.wait()
        return _judged(boot, status, errors.read_text(), has_load=cut is not None)

    def remove(self) -> None:
        """Remove disk and logs."""
        shutil.rmtree(self.folder)

    def _argv(self, plan_file: Path) -> list[str]:
        options = ["--dir", str(ROOT), "--disk", str(self.disk), "--size", "4G"]
        options += ["--drop-unflushed", "--pidfile", str(self._pid_file)]
        options += ["--timeout", str(BOOT_TIMEOUT_S), "--"]
        guest = [sys.executable, "-m", "tools.powercut.guest", str(plan_file)]
        return [*self._command, *options, *guest]

    def _follow(self, process: subprocess.Popen[str], cut: Cut | None) -> Boot:
        """Read what the guest prints; cut the power when it is time; read the rest."""
        boot = Boot()
        assert process.stdout is not None
        for line in process.stdout:
            if ack := parse_ack(line):
                boot.acknowledged[ack[0]] = ack[1]
                boot.acks += 1
                if cut is not None and boot.acks == cut.after_acks:
                    time.sleep(cut.delay_s)
                    self._cut()
            elif line.startswith("checked "):
                _, site, text = line.split(" ", 2)
                boot.checked[site] = json.loads(text)
            elif line.startswith("loading"):
                boot.was_loaded = True
            elif line.startswith("error "):
                boot.error = line.strip()
                self._cut()
        return boot

    def _cut(self) -> None:
        """Kill qemu: only here, and only the process that our own boot started."""
        try:
            os.kill(int(self._pid_file.read_text()), signal.SIGKILL)
        except (FileNotFoundError, ProcessLookupError):
            return


def _judged(boot: Boot, status: int, log: str, *, has_load: bool) -> Boot:
    """Compare how the boot ended with how it should have."""
    if found := _WRITES.search(log):
        boot.lost_writes = int(found[2])
    without_load = {BAD_STATUS} if has_load else {0, BAD_STATUS}
    if boot.error is None and status not in ({CUT_STATUS} if boot.was_loaded else without_load):
        boot.error = f"it ended with status {status}: {log[-2000:].strip()}"
    return boot
