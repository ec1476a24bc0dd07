"""What is installed: modules, simple and zfsstore, and a command that runs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.packaging.building import ROOT, build_egg, build_wheel, copy_of_project, names_in

PACKAGES = ("modules", "simple", "zfsstore")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_wheel(copy_of_project(tmp_path_factory.mktemp("wheel")))


def test_wheel_holds_every_source_of_the_three_packages_and_nothing_else(wheel: Path) -> None:
    expected = {
        str(file.relative_to(ROOT))
        for package in PACKAGES
        for file in (ROOT / package).rglob("*")
        if file.suffix == ".py" or file.name == "py.typed"
    }
    assert expected == names_in(wheel)


@pytest.mark.slow
def test_egg_holds_the_three_packages_as_byte_code(tmp_path: Path) -> None:
    names = names_in(build_egg(copy_of_project(tmp_path)))
    assert set(PACKAGES) == {name.partition("/")[0] for name in names}
    assert {".pyc", ".typed"} == {Path(name).suffix for name in names}


def install(venv: Path, what: str, *, cwd: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
    pip = [str(venv / "bin" / "pip"), "-q", "install", "-c", str(ROOT / "constraints.txt"), what]
    subprocess.run(pip, cwd=cwd, check=True, timeout=300)


@pytest.mark.slow
def test_fresh_install_has_the_command(wheel: Path, tmp_path: Path) -> None:
    venv = tmp_path / "venv"
    install(venv, str(wheel), cwd=tmp_path)
    done = subprocess.run(
        [str(venv / "bin" / "zfsstore"), "--help"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    for command in ("serve", "module", "tenant", "user", "sweep"):
        assert command in done.stdout


@pytest.mark.slow
def test_pip_install_of_the_folder_works(tmp_path: Path) -> None:
    source = copy_of_project(tmp_path)
    venv = tmp_path / "venv"
    install(venv, ".", cwd=source)
    importing = [str(venv / "bin" / "python"), "-c", "import modules, simple.simple, zfsstore"]
    subprocess.run(importing, cwd=tmp_path, check=True, timeout=60)
    tests = [str(venv / "bin" / "python"), "-c", "import tests"]
    assert 1 == subprocess.run(tests, cwd=tmp_path, capture_output=True, check=False).returncode
