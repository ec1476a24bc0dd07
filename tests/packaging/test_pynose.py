"""What setup.cfg tells pynose."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

OLD_TEST = """\
import os, shutil, tempfile, unittest
from tests import StorageModuleTestBase
from simple.simple import SimpleStorage

class TestSimple(unittest.TestCase, StorageModuleTestBase):
    def setUp(self):
        self.folder = tempfile.mkdtemp()
        StorageModuleTestBase.setUp(self, SimpleStorage(self.folder), {})

    def tearDown(self):
        shutil.rmtree(self.folder)

    def compareWrittenData(self, module_data, data):
        with open(os.path.join(self.folder, module_data), "rb") as stored:
            return stored.read() == data

    def wasDeleted(self, module_data):
        return not os.path.exists(os.path.join(self.folder, module_data))
"""


def test_pynose_takes_its_settings_from_setup_cfg(tmp_path: Path) -> None:
    """In the checkout pynose reads [nosetests], which asks for the coverage of two packages."""
    (tmp_path / "test_old.py").write_text(OLD_TEST)
    done = subprocess.run(
        [sys.executable, "-m", "nose", str(tmp_path / "test_old.py")],
        cwd=ROOT,
        env={**os.environ, "COVERAGE_FILE": str(tmp_path / "coverage")},
        capture_output=True,
        text=True,
        check=False,
    )
    output = done.stdout + done.stderr
    assert 0 == done.returncode, output
    assert re.search(r"^simple/simple\.py\s+\d+", output, re.MULTILINE), output
