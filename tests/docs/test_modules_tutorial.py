"""docs/modules.md: the tutorial is typed in as it stands; its list of rules is the suite's."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from modules.conformance import StorageModuleSuite, rules_of
from tests.conformance.memory import directory_in_memory

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "modules.md").read_text()
BLOCK = re.compile(r"<!-- (file|run|prints)(?:: (\S+))? -->\n```\w+\n(.*?)```", re.DOTALL)
RULE = re.compile(r"^\| `([a-z0-9.-]+)` \| (.+) \|$", re.MULTILINE)


class Reader:
    """Somebody who follows the tutorial in an empty folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.printed = ""

    def file(self, name: str, text: str) -> None:
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)

    def run(self, exit_status: str, commands: str) -> None:
        scripts = Path(sys.executable).parent
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", commands],
            cwd=self.folder,
            env={
                **os.environ,
                "PATH": f"{scripts}:{os.environ['PATH']}",
                "PYTHONPATH": str(ROOT),
                "PYTEST_ADDOPTS": "",
                "TMPDIR": str(self.folder),
            },
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        self.printed = done.stdout + done.stderr
        assert int(exit_status or 0) == done.returncode, commands + self.printed

    def prints(self, _: str, lines: str) -> None:
        for line in lines.splitlines():
            pattern = re.escape(line).replace(re.escape("..."), ".*")
            assert re.search(f"^{pattern}$", self.printed, re.MULTILINE), line + self.printed


def blocks() -> list[tuple[str, str, str]]:
    found = [(kind, argument or "", text) for kind, argument, text in BLOCK.findall(PAGE)]
    assert len(found) == PAGE.count("<!-- ")
    return found


def test_tutorial() -> None:
    with directory_in_memory() as folder:
        reader = Reader(Path(folder))
        for kind, argument, text in blocks():
            getattr(reader, kind)(argument, text)
    assert {"file", "run", "prints"} == {kind for kind, _, _ in blocks()}


def test_failures_shown_are_all_failures() -> None:
    shown = next(text for kind, _, text in blocks() if kind == "prints")
    (count,) = re.findall(r"(\d+) failed", shown)
    assert int(count) == shown.count("FAIL")


def test_rules_listed_are_the_rules_of_the_suite() -> None:
    listed = dict(RULE.findall(PAGE.split("## The rules")[1]))
    assert {rule.id: rule.title for rule in rules_of(StorageModuleSuite)} == listed


@pytest.mark.parametrize("name", ["simple/README.md"])
def test_readme_of_a_module_names_its_arguments(name: str) -> None:
    assert "`storage_dir`" in (ROOT / name).read_text()
