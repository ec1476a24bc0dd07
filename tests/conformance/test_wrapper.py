"""The suite on a wrapper, which reaches its inner module through the context."""

from __future__ import annotations

import unittest
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from modules.conformance import (
    QUICK,
    ModuleSpec,
    StorageModuleSuite,
    check_module,
    format_report,
)

WRAPPER = "tests.conformance.swapping.SwappingStorage"


def inner_at(directory: str) -> Mapping[str, ModuleSpec]:
    return {"leaf": ModuleSpec("simple.simple.SimpleStorage", {"storage_dir": directory})}


def test_suite_of_a_wrapper_gives_it_its_inner_module() -> None:
    class SwappingStorageSuite(StorageModuleSuite, unittest.TestCase):
        module = WRAPPER
        scale = QUICK

        @classmethod
        def arguments(cls, directory: str) -> Mapping[str, Any]:
            return {"inner": "leaf"}

        @classmethod
        def inner_modules(cls, directory: str) -> Mapping[str, ModuleSpec]:
            return inner_at(directory)

    result = unittest.TestResult()
    unittest.defaultTestLoader.loadTestsFromTestCase(SwappingStorageSuite).run(result)
    assert ([], []) == (result.failures, result.errors)
    assert result.testsRun - len(result.skipped) > 50


def test_check_of_a_wrapper_looks_at_the_inner_module_s_files(tmp_path: Path) -> None:
    report = check_module(WRAPPER, {"inner": "leaf"}, inner=inner_at(str(tmp_path)), scale=QUICK)
    assert report.ok, format_report(report)
    outcomes = {result.rule: (result.outcome, result.reason) for result in report.results}
    assert outcomes["put.nothing-left"] == ("passed", "looked at its files")
    assert outcomes["read.fileno"][0] == "skipped"


def test_wrapper_without_its_inner_module_fails_with_the_reason(tmp_path: Path) -> None:
    report = check_module(WRAPPER, {"inner": "leaf"}, rules=["put.1-byte"])
    assert not report.ok
    assert "cannot find module leaf: the known modules are none" in report.results[0].reason
