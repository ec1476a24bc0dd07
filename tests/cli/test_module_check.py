"""``zfsstore module check``: a verdict for every rule, without a server and without the host."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from zfsstore.cli.main import main

BROKEN = """
    import io
    from simple.simple import SimpleStorage

    class Forgetful(SimpleStorage):
        def available(self, context, module_data):
            print("noise of a vendor")
            return False

    class Unborn(SimpleStorage):
        def __init__(self, storage_dir):
            raise ValueError("no such \\x1b[31mcolour")
"""
RULES = ["--rule", "put.1-byte", "--rule", "available.present", "--rule", "sweep.report"]


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    """A folder with a package of wrong modules."""
    package = tmp_path / "path" / "broken_vendor"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "stores.py").write_text(textwrap.dedent(BROKEN))
    return package.parent


def args(tmp_path: Path) -> str:
    return json.dumps({"storage_dir": str(tmp_path / "objects")})


def test_a_correct_module_passes_with_one_line_a_rule(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status = main(
        ["module", "check", "simple.simple.SimpleStorage", "--args", args(tmp_path), *RULES]
    )

    lines = capsys.readouterr().out.splitlines()
    assert 0 == status
    assert ["ok", "ok", "skip"] == [line.split()[0] for line in lines[:-1]]
    assert "simple.simple.SimpleStorage: 2 passed, 0 failed, 1 skipped" == lines[-1]


def test_a_broken_module_fails_with_the_reason_and_clean_json(
    tmp_path: Path, broken: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status = main(
        [
            "module",
            "check",
            "broken_vendor.stores.Forgetful",
            "--args",
            args(tmp_path),
            "--python-path",
            str(broken),
            *RULES,
            "--json",
        ]
    )

    captured = capsys.readouterr()
    report = json.loads(captured.out)
    assert 1 == status
    assert not report["ok"]
    failed = [rule for rule in report["rules"] if rule["outcome"] == "failed"]
    assert ["available.present"] == [rule["rule"] for rule in failed]
    assert failed[0]["reason"]
    assert "noise of a vendor" in captured.err


@pytest.mark.parametrize(
    ("dotted", "expected"),
    [
        ("broken_vendor.stores.Absent", "has no class Absent"),
        ("broken_vendor.stores.Unborn", r"its constructor raised ValueError: no such \x1b[31mcolo"),
        ("not dotted", "it is no dotted name"),
    ],
)
def test_what_cannot_be_loaded_is_one_line_and_status_1(
    dotted: str,
    expected: str,
    tmp_path: Path,
    broken: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    status = main(
        ["module", "check", dotted, "--args", args(tmp_path), "--python-path", str(broken)]
    )

    error = capsys.readouterr().err
    assert 1 == status
    assert error.startswith("zfsstore: cannot ")
    assert expected in error
    assert 1 == error.count("\n")


def test_an_unknown_rule_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status = main(
        [
            "module",
            "check",
            "simple.simple.SimpleStorage",
            "--args",
            args(tmp_path),
            "--rule",
            "no.such-rule",
        ]
    )

    assert 1 == status
    assert "there is no rule no.such-rule" in capsys.readouterr().err


def test_an_inner_module_must_be_described(capsys: pytest.CaptureFixture[str]) -> None:
    status = main(
        ["module", "check", "simple.simple.SimpleStorage", "--inner", '{"disk": {"args": {}}}']
    )

    assert 1 == status
    assert "cannot use inner module disk: " in capsys.readouterr().err


def test_it_runs_without_any_installed_package(tmp_path: Path) -> None:
    """-S leaves out site-packages: only the standard library and this checkout are there."""
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [
            sys.executable,
            "-S",
            "-c",
            "import sys; from zfsstore.cli.main import main; sys.exit(main(sys.argv[1:]))",
            "module",
            "check",
            "simple.simple.SimpleStorage",
            "--args",
            args(tmp_path),
            *RULES,
        ],
        capture_output=True,
        text=True,
        cwd=root,
        check=False,
    )

    assert "" == done.stderr
    assert 0 == done.returncode
