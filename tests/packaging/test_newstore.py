"""examples/newstore as a vendor ships it: an egg of byte code, and a wheel."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.packaging.building import ROOT, build_egg, build_wheel, copy_of_newstore, names_in

LOAD_AND_USE = """\
import io, sys
from modules.loader import load_module
archive, folder = sys.argv[1:]
module = load_module(
    "newstore.newstore.NewStorage", {"storage_dir": folder}, python_path=[archive]
)
module_data = module.put({}, io.BytesIO(b"from an archive"))
with module.get_read_stream({}, module_data) as stream:
    sys.stdout.write(stream.read().decode())
assert sys.modules["newstore.newstore"].__file__.startswith(archive + "/")
"""


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_of_newstore(tmp_path_factory.mktemp("newstore"))


@pytest.fixture(scope="module")
def egg(source: Path) -> Path:
    return build_egg(source)


@pytest.fixture(scope="module")
def wheel(source: Path) -> Path:
    return build_wheel(source)


def test_egg_holds_the_vendors_byte_code_only(egg: Path) -> None:
    expected = {"newstore/__init__.pyc", "newstore/newstore.pyc", "newstore/py.typed"}
    assert expected == names_in(egg)


def test_egg_fits_the_python_that_built_it(egg: Path) -> None:
    with zipfile.ZipFile(egg) as opened:
        code = opened.read("newstore/newstore.pyc")
    assert importlib.util.MAGIC_NUMBER == code[:4]
    assert egg.name.endswith(f"-py{sys.version_info.major}.{sys.version_info.minor}.egg")


def test_wheel_holds_the_vendors_sources_only(wheel: Path) -> None:
    expected = {"newstore/__init__.py", "newstore/newstore.py", "newstore/py.typed"}
    assert expected == names_in(wheel)


@pytest.mark.parametrize("kind", ["egg", "wheel"])
def test_archive_loads_through_the_loader(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    archive: Path = request.getfixturevalue(kind)
    command = [sys.executable, "-c", LOAD_AND_USE, str(archive), str(tmp_path / "store")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert "from an archive" == done.stdout, done.stderr


@pytest.mark.parametrize("kind", [pytest.param("egg", marks=pytest.mark.slow), "wheel"])
def test_module_check_passes(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    archive: Path = request.getfixturevalue(kind)
    command = [sys.executable, "-m", "zfsstore.cli", "module", "check"]
    command += ["newstore.newstore.NewStorage", "--python-path", str(archive)]
    command += ["--args", json.dumps({"storage_dir": str(tmp_path / "store")})]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert 0 == done.returncode, done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    "runner",
    [
        ["pytest", "-q", "-p", "no:cacheprovider", "tests"],
        ["unittest", "discover", "-t", ".", "-s", "tests"],
        ["nose", "tests"],
    ],
    ids=lambda runner: runner[0],
)
def test_vendors_own_tests_pass_under_every_runner(runner: list[str], source: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", *runner],
        cwd=source,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    output = done.stdout + done.stderr
    assert 0 == done.returncode, output
    assert re.search(r"\b[1-9]\d+ passed|Ran [1-9]\d+ tests", output), output
