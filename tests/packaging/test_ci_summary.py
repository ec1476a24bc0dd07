"""tools/ci_summary.py: what CI believes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

TOOL = Path(__file__).parents[2] / "tools" / "ci_summary.py"
PASSED = '<testcase classname="t" name="good"/>'
FAILED = '<testcase classname="t" name="bad"><failure message="no"/></testcase>'
SKIPPED = '<testcase classname="t" name="later"><skipped message="no ZFS here"/></testcase>'


def suite(folder: Path, *cases: str) -> str:
    file = folder / "suite.xml"
    file.write_text(f"<testsuites><testsuite>{''.join(cases)}</testsuite></testsuites>")
    return f"suite={file}"


def run(*arguments: str) -> tuple[int, list[str]]:
    done = subprocess.run(
        [sys.executable, str(TOOL), *arguments], capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout.splitlines()


def test_all_passed_is_success(tmp_path: Path) -> None:
    status, lines = run(suite(tmp_path, PASSED))
    assert (0, "1 passed, 0 failed, 0 skipped") == (status, lines[-1])


def test_failed_test_is_failure_and_named(tmp_path: Path) -> None:
    status, lines = run(suite(tmp_path, PASSED, FAILED))
    assert (1, "1 passed, 1 failed, 0 skipped") == (status, lines[-1])
    assert "FAILED suite: t::bad" in lines


def test_test_that_fails_and_errs_counts_once(tmp_path: Path) -> None:
    error = '<testcase classname="t" name="bad"><error message="teardown"/></testcase>'
    assert "0 passed, 1 failed, 0 skipped" == run(suite(tmp_path, FAILED, error))[1][-1]


def test_unexpected_skip_is_failure_with_its_reason(tmp_path: Path) -> None:
    status, lines = run(suite(tmp_path, PASSED, SKIPPED))
    assert (1, "1 passed, 1 failed, 1 skipped") == (status, lines[-1])
    assert "skipped but not expected: suite: t::later: no ZFS here" in lines


def test_allowed_skip_is_printed_and_no_failure(tmp_path: Path) -> None:
    allowed = tmp_path / "allowed"
    allowed.write_text("# none of these matter\n\nlater: no ZFS  # this machine has none\n")
    status, lines = run("--allow", str(allowed), suite(tmp_path, PASSED, SKIPPED))
    assert (0, "1 passed, 0 failed, 1 skipped") == (status, lines[-1])
    assert "skipped: suite: t::later: no ZFS here" in lines


def test_suite_without_a_file_is_failure() -> None:
    status, lines = run("zfs=/nonexistent/zfs.xml")
    assert (1, "0 passed, 1 failed, 0 skipped") == (status, lines[-1])


def test_suite_that_ran_nothing_is_failure(tmp_path: Path) -> None:
    assert 1 == run(suite(tmp_path))[0]


def test_suite_of_skips_only_is_failure(tmp_path: Path) -> None:
    allowed = tmp_path / "allowed"
    allowed.write_text("later\n")
    assert 1 == run("--allow", str(allowed), suite(tmp_path, SKIPPED))[0]


def test_failed_stage_is_failure(tmp_path: Path) -> None:
    status, lines = run("--failed-stage", "lint", suite(tmp_path, PASSED))
    assert (1, "1 passed, 1 failed, 0 skipped") == (status, lines[-1])
