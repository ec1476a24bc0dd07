"""Modules that are wrong about state_dir, sweep, copy or compose."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from modules.context import Context
from modules.errors import InvalidModuleData
from modules.extensions import SweepReport
from tests.conformance.full_storage import FullStorage


class NoSuchStateDir(FullStorage):
    breaks = "state-dir.usable"

    def state_dir(self, context: Context) -> Path:
        path = super().state_dir(context)
        return path / "absent" if str(context.get("tenant")).endswith("/objects") else path


class OneStateDir(FullStorage):
    breaks = "state-dir.per-volume"

    def state_dir(self, context: Context) -> Path:
        path = super().state_dir(context)
        name = str(context.get("tenant"))
        return self.root if "/" not in name or name.endswith("/state") else path


class SweepsWhatLives(FullStorage):
    """Compares with the names in upper case."""

    breaks = "sweep.report"

    def sweep(
        self, context: Context, live: Iterable[str], *, older_than: timedelta, dry_run: bool = True
    ) -> SweepReport:
        report = super().sweep(context, live, older_than=older_than, dry_run=dry_run)
        return replace(report, unreferenced_bytes=0)


class DryRunMoves(FullStorage):
    breaks = "sweep.dry-run"

    def sweep(
        self, context: Context, live: Iterable[str], *, older_than: timedelta, dry_run: bool = True
    ) -> SweepReport:
        report = super().sweep(context, live, older_than=older_than, dry_run=False)
        return replace(report, quarantined=not dry_run)


class SweepsTheYoung(FullStorage):
    breaks = "sweep.young"

    def sweep(
        self, context: Context, live: Iterable[str], *, older_than: timedelta, dry_run: bool = True
    ) -> SweepReport:
        return super().sweep(context, live, older_than=timedelta(0), dry_run=dry_run)


class MissesNothing(FullStorage):
    breaks = "sweep.missing"

    def sweep(
        self, context: Context, live: Iterable[str], *, older_than: timedelta, dry_run: bool = True
    ) -> SweepReport:
        report = super().sweep(context, live, older_than=older_than, dry_run=dry_run)
        return replace(report, missing=())


class NeverSweeps(FullStorage):
    breaks = "sweep.quarantine"

    def sweep(
        self, context: Context, live: Iterable[str], *, older_than: timedelta, dry_run: bool = True
    ) -> SweepReport:
        is_usual = str(context.get("tenant")).endswith("/objects")
        report = super().sweep(context, live, older_than=older_than, dry_run=dry_run or is_usual)
        return replace(report, quarantined=not dry_run)


class CopiesTheName(FullStorage):
    """A symbolic link: gone with its source."""

    breaks = "copy.copy"

    def copy(self, source_context: Context, module_data: str, context: Context) -> str:
        name = super().copy(source_context, module_data, context)
        objects = self.volume(context) / "objects"
        os.unlink(objects / name)
        os.symlink(objects / module_data, objects / name)
        return name


class SortsParts(FullStorage):
    breaks = "copy.compose"

    def compose(self, context: Context, parts: Iterable[str]) -> str:
        return super().compose(context, sorted(set(parts)))


class CopiesNothing(FullStorage):
    """Takes an absent object for a malformed name."""

    breaks = "copy.absent"

    def copy(self, source_context: Context, module_data: str, context: Context) -> str:
        if not self.available(source_context, module_data):
            raise InvalidModuleData("no such object")
        return super().copy(source_context, module_data, context)
