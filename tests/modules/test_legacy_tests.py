"""A vendor's subclass from the original SDK is green under all three runners, and only it runs."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]

OLD_SUBCLASS = """
import os
import shutil
import unittest

from tests import StorageModuleTestBase


class TestSimpleStorage({bases}):
    def setUp(self):
        self.workdir = {workdir!r}
        from simple.simple import SimpleStorage
        connector = SimpleStorage(self.workdir)
        StorageModuleTestBase.setUp(self, connector, {{}})
        if not os.path.exists(self.workdir):
            os.mkdir(self.workdir)

    def tearDown(self):
        StorageModuleTestBase.tearDown(self)
        shutil.rmtree(self.workdir)

    def compareWrittenData(self, module_data, data):
        path = os.path.join(self.workdir, module_data.strip("/"))
        with open(path, "r") as file:
            written_data = file.read()
        if written_data != data:
            return False
        else:
            return True

    def wasDeleted(self, module_data):
        return not os.path.exists(os.path.join(self.workdir, module_data.strip("/")))
"""

RUNNERS = {
    "pytest": ["pytest", "-v", "-p", "no:cacheprovider", "test_old.py"],
    "unittest": ["unittest", "-v", "test_old"],
    "pynose": ["nose", "-v", "test_old.py"],
}
COUNTS = {
    "pytest": r"(\d+) passed",
    "unittest": r"Ran (\d+) tests",
    "pynose": r"Ran (\d+) tests",
}


def run(runner: Sequence[str], directory: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *runner],
        cwd=directory,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "PYTEST_ADDOPTS": ""},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("runner", RUNNERS)
@pytest.mark.parametrize(
    "bases",
    [
        "unittest.TestCase, StorageModuleTestBase",
        pytest.param("StorageModuleTestBase, unittest.TestCase", marks=pytest.mark.slow),
        "StorageModuleTestBase",
    ],
    ids=["case-first", "base-first", "base-alone"],
)
def test_old_subclass_is_green(tmp_path: Path, runner: str, bases: str) -> None:
    workdir = str(tmp_path / "store")
    (tmp_path / "test_old.py").write_text(OLD_SUBCLASS.format(bases=bases, workdir=workdir))
    done = run(RUNNERS[runner], tmp_path)
    output = done.stdout + done.stderr
    assert done.returncode == 0, output
    count = re.search(COUNTS[runner], output)
    assert count is not None, output
    assert count[1] == "4", output


def test_old_subclass_of_a_broken_module_is_red(tmp_path: Path) -> None:
    text = OLD_SUBCLASS.format(bases="StorageModuleTestBase", workdir=str(tmp_path / "store"))
    text = text.replace(
        "(self.workdir)\n        Storage", "(self.workdir)\n        BREAK\n        Storage"
    )
    broken = "connector.delete = lambda context, module_data: None"
    (tmp_path / "test_old.py").write_text(text.replace("BREAK", broken))
    done = run(RUNNERS["unittest"], tmp_path)
    assert done.returncode != 0
    assert "the data is still there after delete" in done.stderr


def test_missing_hooks_say_what_to_define(tmp_path: Path) -> None:
    (tmp_path / "test_old.py").write_text(
        "from tests import StorageModuleTestBase\n"
        "from simple import SimpleStorage\n"
        "class TestX(StorageModuleTestBase):\n"
        "    def setUp(self):\n"
        f"        StorageModuleTestBase.setUp(self, SimpleStorage({str(tmp_path / 's')!r}), {{}})\n"
    )
    done = run(RUNNERS["unittest"], tmp_path)
    assert done.returncode != 0
    assert "a subclass must define compareWrittenData(module_data, data)" in done.stderr
