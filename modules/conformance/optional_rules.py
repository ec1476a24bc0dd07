"""Rules about the optional contracts of modules.extensions: state_dir, sweep, copy, compose."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from modules.conformance.base import SuiteBase
from modules.conformance.payload import first_difference, pattern, read_exactly
from modules.conformance.rule import rule
from modules.errors import ObjectNotFound, VolumeNotFound
from modules.extensions import (
    SupportsCopy,
    SupportsStateDir,
    SupportsSweep,
    SupportsVolumes,
    SweepReport,
)

_PATIENCE_S: Final = 2.0


class OptionalRules(SuiteBase):
    """What must hold of a contract that a module offers; skipped when it does not."""

    @rule("state-dir.usable", "state_dir is an existing, writable directory, always the same")
    def test_state_dir_usable(self) -> None:
        path = self._state_dir(self.store.context())
        self.require(isinstance(path, Path), f"state_dir must return a Path, not {path!r}")
        self.require(path.is_absolute(), f"state_dir must be absolute, not {path}")
        self.require(path.is_dir(), f"{path} is no directory")
        self.require(os.access(path, os.W_OK | os.X_OK), f"{path} is not writable")
        again = self._state_dir(self.store.context())
        self.require(path == again, f"state_dir was {path}, then {again}")

    @rule("state-dir.per-volume", "each volume has a state_dir of its own")
    def test_state_dir_per_volume(self) -> None:
        self._state_dir(self.store.context())
        self._needs_volumes()
        other = f"{self.store.tenant}/state"
        self.store.make_volume(other)
        paths = [
            self._state_dir(self.store.context(tenant=name))
            for name in (self.store.bucket, other, self.store.tenant)
        ]
        self.require(len(set(paths)) == 3, f"two volumes share one of {paths}")
        try:
            found = self._state_dir(self.store.context(tenant=f"{self.store.tenant}/absent"))
        except VolumeNotFound:
            return
        except Exception as error:
            self.broken("for an absent volume it must raise modules.errors.VolumeNotFound", error)
        self.require(False, f"for an absent volume it must raise VolumeNotFound, not give {found}")

    def _state_dir(self, context: dict[str, Any]) -> Path:
        module: Any = self.store.module
        if not isinstance(module, SupportsStateDir):
            self.skipTest("it offers no state_dir")
        return module.state_dir(context)

    def _needs_volumes(self) -> None:
        if not isinstance(self.store.module, SupportsVolumes):
            self.skipTest("it offers no volumes")

    @rule("sweep.report", "sweep keeps what is live and reports what is not")
    def test_sweep_report(self) -> None:
        live, lost = self.put("live"), self.put("lost")
        report = self._sweep_until(lambda found: self._names(found, lost), lost)
        self.require(
            self._names(report, lost), f"{lost!r} is not live, but sweep did not report it"
        )
        self.require(not self._names(report, live), f"{live!r} is live, but sweep reported it")
        self.require(report.scanned >= 2, f"scanned is {report.scanned}, of at least 2 objects")
        self.require(
            report.unreferenced_bytes > 0,  # as stored: compressed, perhaps
            f"unreferenced_bytes is {report.unreferenced_bytes}, for an object of 1024 bytes",
        )

    @rule("sweep.dry-run", "a dry run, which is the default, changes nothing")
    def test_sweep_dry_run(self) -> None:
        lost = self.put("dry run")
        report = self._sweep_until(lambda found: self._names(found, lost), lost)
        self.require(not report.quarantined, "the report of a dry run says quarantined")
        found = read_exactly(self.get(lost), 2048)
        self.require(found == pattern("dry run", 1024), "a dry run removed an object")

    @rule("sweep.young", "what is younger than the limit is left alone")
    def test_sweep_young(self) -> None:
        young = self.put("young")
        report = self._sweep(self._live(young), older_than=timedelta(hours=24))
        self.require(not self._names(report, young), "an object put just now is reported")
        self.require(report.too_young >= 1, f"too_young is {report.too_young}, of one object")

    @rule("sweep.missing", "live module_data with nothing behind it is reported as missing")
    def test_sweep_missing(self) -> None:
        missing, live = self.put("missing"), self.put("not missing")
        self.store.delete(missing)
        report = self._sweep([*self._live(), missing], older_than=timedelta(0))
        self.require(missing in report.missing, f"{missing!r} was deleted, but is not in missing")
        self.require(live not in report.missing, f"{live!r} is there, but is in missing")

    @rule("sweep.quarantine", "without dry_run what is not live is taken away, and only that")
    def test_sweep_quarantine(self) -> None:
        if not self.exclusive and not isinstance(self.store.module, SupportsVolumes):
            self._sweeper()
            self.skipTest("the store may hold objects that are not the suite's")
        live, lost = self.put("stays"), self.put("goes")
        report = self._sweep_until(lambda found: self._names(found, lost), lost, dry_run=False)
        self.require(report.quarantined, "the report does not say quarantined")
        context = self.store.context()
        self.require(not self.store.module.available(context, lost), f"{lost!r} is still available")
        try:
            self.store.module.get_read_stream(context, lost).close()
        except ObjectNotFound:
            pass
        except Exception as error:
            self.broken("get of what was taken away must raise ObjectNotFound", error)
        else:
            self.require(False, "what was taken away can still be read")
        found = read_exactly(self.get(live), 2048)
        self.require(found == pattern("stays", 1024), "a live object was damaged")

    def _sweeper(self) -> SupportsSweep:
        module: Any = self.store.module
        if not isinstance(module, SupportsSweep):
            self.skipTest("it offers no sweep")
        return module

    def _names(self, report: SweepReport, module_data: str) -> bool:
        """Tell whether the report calls an object unreferenced.

        A wrapper may give the inner module's name of it, which its own module_data ends in: it
        need not know its own of an object that nobody refers to.
        """
        if module_data in report.unreferenced:
            return True
        ends = (f":{name}" for name in report.unreferenced)
        return bool(self.store.spec.inner) and any(module_data.endswith(end) for end in ends)

    def _live(self, *lost: str) -> list[str]:
        """Return all that was put into the usual volume, but *lost*."""
        return sorted(self.store.objects.get(self.store.bucket, set()) - set(lost))

    def _sweep(self, live: Iterable[str], **options: Any) -> SweepReport:
        report: Any = self._sweeper().sweep(self.store.context(), live, **options)
        kind = type(report).__name__
        self.require(
            isinstance(report, SweepReport),
            f"sweep must return a modules.extensions.SweepReport, not {kind}",
        )
        checked: SweepReport = report
        return checked

    def _sweep_until(
        self, done: Callable[[SweepReport], bool], lost: str, **options: Any
    ) -> SweepReport:
        """Sweep with no age limit until *done*; a file's time may lag behind the clock."""
        deadline = time.monotonic() + _PATIENCE_S
        while True:
            report = self._sweep(self._live(lost), older_than=timedelta(0), **options)
            if done(report) or time.monotonic() > deadline:
                return report
            time.sleep(0.05)

    @rule("copy.copy", "copy makes an independent object of the same bytes")
    def test_copy_copy(self) -> None:
        source = self.put("copy", 100_000)
        context = self.store.context()
        made = self.store.remember(self._copier().copy(context, source, context))
        self.require(made != source, f"copy returned the module_data of its source, {made!r}")
        self.store.delete(source)
        self._holds(made, pattern("copy", 100_000))

    @rule("copy.compose", "compose joins objects in order and leaves them as they were")
    def test_copy_compose(self) -> None:
        parts = [self.put(f"part {number}", 70_000 + number) for number in range(3)]
        expected = [pattern(f"part {number}", 70_000 + number) for number in range(3)]
        made = self._copier().compose(
            self.store.context(), [parts[0], parts[1], parts[2], parts[0]]
        )
        self.store.remember(made)
        self._holds(parts[0], expected[0])
        for part in parts:
            self.store.delete(part)
        self._holds(made, b"".join([*expected, expected[0]]))

    @rule("copy.absent", "copy and compose of a deleted object raise ObjectNotFound")
    def test_copy_absent(self) -> None:
        copier, context = self._copier(), self.store.context()
        present, absent = self.put("present"), self.put("absent")
        self.store.delete(absent)
        calls: dict[str, Callable[[], str]] = {
            "copy": lambda: copier.copy(context, absent, context),
            "compose": lambda: copier.compose(context, [present, absent]),
        }
        for name, call in calls.items():
            try:
                made = call()
            except ObjectNotFound:
                continue
            except Exception as error:
                self.broken(f"{name} must raise modules.errors.ObjectNotFound", error)
            self.store.remember(made)
            self.require(False, f"{name} of a deleted object returned {made!r}")

    def _copier(self) -> SupportsCopy:
        module: Any = self.store.module
        if not isinstance(module, SupportsCopy):
            self.skipTest("it offers no copy and compose")
        return module

    def _holds(self, module_data: str, expected: bytes) -> None:
        found = read_exactly(self.get(module_data), len(expected) + 1)
        self.require(found == expected, first_difference(expected, found))
