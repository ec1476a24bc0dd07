"""check_module: the suite without code, and what its report says."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from modules.conformance import (
    QUICK,
    Report,
    RuleResult,
    StorageModuleSuite,
    check_module,
    format_report,
    rules_of,
)
from modules.errors import InvalidArgument, ModuleLoadError

SIMPLE = "simple.simple.SimpleStorage"


def test_report_of_a_right_module(tmp_path: Path) -> None:
    report = check_module(SIMPLE, {"storage_dir": str(tmp_path)}, scale=QUICK)
    assert report.ok
    assert [result.rule for result in report.results] == [
        rule.id for rule in rules_of(StorageModuleSuite)
    ]
    skipped = {
        result.rule.split(".")[0] for result in report.results if result.outcome == "skipped"
    }
    tiers = {"volumes", "snapshots", "clones", "replication", "operator"}
    assert skipped == {*tiers, "sweep", "state-dir", "copy"}
    assert list(tmp_path.iterdir()) == []
    value = json.loads(json.dumps(report.to_dict()))
    assert value["ok"] is True
    assert value["scale"]["large_bytes"] == QUICK.large_bytes
    assert value["passed"] + value["skipped"] == len(value["rules"])


def test_what_was_looked_at_is_said(tmp_path: Path) -> None:
    report = check_module(SIMPLE, {"storage_dir": str(tmp_path)}, rules=["put.nothing-left"])
    assert [result.reason for result in report.results] == ["looked at its files"]


def test_volumes_and_objects_are_removed(tmp_path: Path) -> None:
    name = "tests.conformance.full_storage.FullStorage"
    report = check_module(name, {"storage_dir": str(tmp_path)}, scale=QUICK)
    assert report.ok, format_report(report)
    assert {path.name for path in tmp_path.iterdir()} == {"%", ".trash"}
    assert list((tmp_path / "%" / "objects").iterdir()) == []


def test_other_objects_are_not_swept(tmp_path: Path) -> None:
    (tmp_path / "somebody's").write_bytes(b"data")
    report = check_module(
        "tests.conformance.odd_modules.SweepingEverything",
        {"storage_dir": str(tmp_path)},
        rules=["sweep.quarantine"],
    )
    assert [(result.outcome, result.reason) for result in report.results] == [
        ("skipped", "the store may hold objects that are not the suite's")
    ]
    assert (tmp_path / "somebody's").read_bytes() == b"data"


def test_only_the_rules_asked_for(tmp_path: Path) -> None:
    report = check_module(SIMPLE, {"storage_dir": str(tmp_path)}, rules=["put.binary", "read.tell"])
    assert [result.rule for result in report.results] == ["put.binary", "read.tell"]


def test_unknown_rule(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match=r"there is no rule put\.magic"):
        check_module(SIMPLE, {"storage_dir": str(tmp_path)}, rules=["put.magic"])


def test_module_that_cannot_be_loaded() -> None:
    with pytest.raises(ModuleLoadError, match="storage_dirr"):
        check_module(SIMPLE, {"storage_dirr": "/tmp/x"})


def test_unexpected_error_names_the_place_in_the_module(tmp_path: Path) -> None:
    name = "tests.conformance.wrong_modules.description.NeedsATenant"
    report = check_module(name, {"storage_dir": str(tmp_path)}, rules=["context.bare"])
    assert "with the context {}: KeyError: 'tenant'" in report.results[0].reason
    name = "tests.conformance.odd_modules.PutRaises"
    report = check_module(name, {"storage_dir": str(tmp_path)}, rules=["put.1-byte"])
    assert "ZeroDivisionError" in report.results[0].reason
    assert "raised from odd_modules.py line" in report.results[0].reason


def test_store_that_cannot_be_prepared_fails_every_rule(tmp_path: Path) -> None:
    name = "tests.conformance.odd_modules.NoVolumeCanBeMade"
    report = check_module(name, {"storage_dir": str(tmp_path)}, scale=replace(QUICK, threads=2))
    assert {result.outcome for result in report.results} == {"failed"}
    assert "could not prepare its store: OSError: read-only" in report.results[0].reason
    assert not report.ok


def test_formatted_report_has_one_line_a_rule() -> None:
    report = Report(
        "a.b.C",
        (
            RuleResult("put.binary", "every byte comes back", "passed"),
            RuleResult("read.tell", "tell tells", "failed", "it returned 1, not 0"),
            RuleResult("copy.copy", "copies", "skipped", "it offers no copy"),
        ),
    )
    assert format_report(report).splitlines() == [
        "ok    put.binary  every byte comes back",
        "FAIL  read.tell   tell tells: it returned 1, not 0",
        "skip  copy.copy   copies: it offers no copy",
        "a.b.C: 1 passed, 1 failed, 1 skipped",
    ]


def test_nothing_passed_is_not_ok() -> None:
    assert not Report("a.b.C", ()).ok
    assert not Report("a.b.C", (RuleResult("copy.copy", "copies", "skipped", "none"),)).ok
