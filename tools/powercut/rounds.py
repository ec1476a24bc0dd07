"""Which rounds there are, and what comes of each."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tools.powercut.clients import Client
from tools.powercut.judge import Verdict
from tools.powercut.machine import Boot, Cut, Machine

CLIENTS: Final = tuple(f"w{number}" for number in range(6))
NO_TXG_S: Final = 600
"""No transaction group closes by itself, so that a missing fsync is not made good by one."""


@dataclass(frozen=True, slots=True)
class Kind:
    """How the load of a round runs.

    Attributes:
        site: dataset below the pool.
        http: through ``zfsstore serve``; else through ObjectService in two processes.
        txg_timeout_s: how often ZFS closes a transaction group.
        options: of ``zfs create`` for the site.
        unsynced_index: SQLite does no fsync.
        must_lose: this is a control.
    """

    name: str
    site: str = "store"
    http: bool = False
    txg_timeout_s: int = NO_TXG_S
    clients: tuple[str, ...] = CLIENTS
    options: tuple[str, ...] = ()
    unsynced_index: bool = False
    must_lose: bool = False


KINDS: Final = (
    Kind("service"),
    Kind("http", http=True),
    Kind("buckets, txg 1 s", txg_timeout_s=1, clients=("buckets", *CLIENTS)),
    Kind("service, txg 1 s", txg_timeout_s=1),
    Kind("http, txg 1 s", http=True, txg_timeout_s=1),
)
CONTROLS: Final = {
    "sync-disabled": Kind(
        "control: sync=disabled",
        site="sync-disabled",
        options=("-o", "sync=disabled"),
        must_lose=True,
    ),
    "index-unsynced": Kind(
        "control: index without fsync", site="index-unsynced", unsynced_index=True, must_lose=True
    ),
}


@dataclass(slots=True)
class Round:
    """One load, its cut, and what the next boot found."""

    number: int
    kind: Kind
    cut: Cut
    boot: Boot = field(default_factory=Boot)
    verdict: Verdict | None = None
    error: str | None = None
    seconds: float = 0.0

    @property
    def is_good(self) -> bool:
        if self.error is not None or self.verdict is None:
            return False
        has_lost = self.verdict.lost > 0 or bool(self.verdict.problems)
        return has_lost == self.kind.must_lose

    def to_dict(self) -> dict[str, Any]:
        values: dict[str, Any] = {
            "round": self.number,
            "kind": self.kind.name,
            "ok": self.is_good,
            "cut_after": self.cut.after_acks,
            "delay_s": round(self.cut.delay_s, 3),
            "acknowledged": self.boot.acks,
            "disk_writes_lost": self.boot.lost_writes,
            "seconds": round(self.seconds),
        }
        if self.verdict is not None:
            names = ("lost", "unannounced", "objects", "unreferenced", "problems")
            values |= {name: getattr(self.verdict, name) for name in names}
        if self.error is not None:
            values["error"] = self.error
        return values


def plan_rounds(count: int, controls: Iterable[str], rng: random.Random) -> list[Round]:
    """Return the rounds, each with its random moment."""
    kinds = [KINDS[number % len(KINDS)] for number in range(count)]
    kinds += [CONTROLS[name] for name in controls]
    return [
        Round(number, kind, Cut(rng.randint(10, 150), rng.uniform(0, 0.3)))
        for number, kind in enumerate(kinds, 1)
    ]


class Rounds:
    """Runs rounds on one machine after the other.

    Args:
        folder: for machines; the disk of one whose round failed moves to *keep*.
        say: takes a line for each round.
    """

    def __init__(
        self,
        folder: Path,
        command: Sequence[str],
        keep: Path,
        seed: str,
        say: Callable[[str], None],
    ) -> None:
        self._folder = folder
        self._command = command
        self._keep = keep
        self._seed = seed
        self._say = say
        self._machines = 0
        self._done: list[Round] = []
        self._renew()

    def run(self, rounds: Sequence[Round]) -> None:
        """Run all; the boot after the last only checks."""
        pending = None
        for current in rounds:
            if not self._boot(pending, current):  # the machine before failed its check
                self._boot(None, current)
            pending = None if current.error else current
        if pending is not None:
            self._boot(pending, None)

    def summary(self) -> dict[str, Any]:
        """Return what all rounds came to."""
        real = [done for done in self._done if not done.kind.must_lose]
        controls = [done for done in self._done if done.kind.must_lose]
        return {
            "ok": all(done.is_good for done in self._done),
            "seed": self._seed,
            "rounds": len(real),
            "failed": sum(not done.is_good for done in real),
            "acknowledged": sum(done.boot.acks for done in real),
            "lost": sum(done.verdict.lost for done in real if done.verdict),
            "unreferenced": sum(done.verdict.unreferenced for done in real if done.verdict),
            "disk_writes_lost": sum(done.boot.lost_writes for done in real),
            "controls": {
                done.kind.name: {
                    "ok": done.is_good,
                    "acknowledged": done.boot.acks,
                    "lost": done.verdict.lost if done.verdict else None,
                    "problems": len(done.verdict.problems) if done.verdict else None,
                }
                for done in controls
            },
        }

    def _boot(self, pending: Round | None, current: Round | None) -> bool:
        """Check *pending*, load *current*; return False when the check left nothing to load on."""
        started = time.monotonic()
        plan = {
            "create": not self._machine.disk.exists(),
            "checks": self._checks(pending),
            "load": self._load(current) if current else None,
        }
        boot = self._machine.boot(plan, current.cut if current else None)
        seconds = time.monotonic() - started
        if pending is not None:
            self._settle(pending, boot)
            if not pending.is_good:
                self._give_up(pending)
                return False
        if current is not None:
            current.boot, current.seconds = boot, seconds
            self._loaded.add(current.kind.site)
            if boot.error is not None:
                current.error = boot.error
                self._finish(current)
                self._give_up(current)
        return True

    def _settle(self, pending: Round, boot: Boot) -> None:
        """Take over the verdict on a round."""
        verdicts = {site: Verdict.from_dict(values) for site, values in boot.checked.items()}
        for site, verdict in verdicts.items():
            self._clients.setdefault(site, {}).update(verdict.clients)
        pending.verdict = verdicts.get(pending.kind.site)
        if pending.verdict is None:
            pending.error = boot.error or "it could not be checked"
        other = verdicts.get("store")
        if pending.kind.must_lose and other is not None and (other.lost or other.problems):
            pending.error = f"the store beside the control: {other.lost} lost, {other.problems}"
        self._finish(pending)

    def _finish(self, done: Round) -> None:
        self._done.append(done)
        self._say(json.dumps(done.to_dict()))

    def _checks(self, pending: Round | None) -> list[dict[str, Any]]:
        """Check the site that was loaded, and the store whatever was loaded."""
        if pending is None:
            return []
        sites = dict.fromkeys((pending.kind.site, "store"))
        return [self._check(site, pending) for site in sites if site in self._loaded]

    def _check(self, site: str, pending: Round) -> dict[str, Any]:
        is_loaded = site == pending.kind.site
        known = self._clients.setdefault(site, {})
        names = dict.fromkeys((*known, *(pending.kind.clients if is_loaded else ())))
        clients = [known.get(name) or Client(self._seed, name) for name in names]
        return {
            "site": site,
            "clients": [client.to_dict() for client in clients],
            "acknowledged": pending.boot.acknowledged if is_loaded else {},
            "may_lose": is_loaded and pending.kind.must_lose,
        }

    def _load(self, current: Round) -> dict[str, Any]:
        kind = current.kind
        return {
            "site": kind.site,
            "create": kind.site != "store",
            "options": list(kind.options),
            "seed": self._seed,
            "http": kind.http,
            "txg_timeout_s": kind.txg_timeout_s,
            "unsynced_index": kind.unsynced_index,
            "clients": list(kind.clients),
        }

    def _give_up(self, failed: Round) -> None:
        """Keep disk and logs of the machine, and take a new one."""
        target = self._keep / f"{self._seed}-round-{failed.number}"
        shutil.rmtree(target, ignore_errors=True)
        target.parent.mkdir(parents=True, exist_ok=True)
        # mv, which keeps a sparse disk sparse on another file system, too
        subprocess.run(["mv", self._machine.folder, target], check=True)  # noqa: S607
        self._say(json.dumps({"round": failed.number, "kept": str(target)}))
        self._renew()

    def _renew(self) -> None:
        self._machines += 1
        self._machine = Machine(self._folder / f"machine-{self._machines}", self._command)
        self._clients: dict[str, dict[str, Client]] = {}
        self._loaded: set[str] = set()
