"""setup.cfg, constraints.txt and the tree agree."""

from __future__ import annotations

import configparser
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("modules", "simple", "zfsstore")


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.fixture(scope="module")
def setup_cfg() -> configparser.ConfigParser:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    return config


def requirements(config: configparser.ConfigParser) -> set[str]:
    lines = config["options"]["install_requires"].splitlines()
    for extra in config["options.extras_require"].values():
        lines += extra.splitlines()
    names = (re.match(r"[\w.-]+", line.strip()) for line in lines)
    return {normal(name[0]) for name in names if name}


def test_everything_required_is_pinned(setup_cfg: configparser.ConfigParser) -> None:
    pins = {
        normal(line.partition("==")[0])
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if re.fullmatch(r"[\w.-]+==[\w.!+]+", line)
    }
    assert set() == requirements(setup_cfg) - pins


def test_every_constraint_is_one_exact_version() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    odd = [
        line
        for line in lines
        if not line.startswith("#") and not re.fullmatch(r"[\w.-]+==[\w.!+]+", line)
    ]
    assert [] == odd


def test_pyproject_holds_no_metadata() -> None:
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert {"build-system", "tool"} == set(pyproject)


@pytest.mark.parametrize("package", PACKAGES)
def test_package_is_marked_as_typed(package: str) -> None:
    assert (ROOT / package / "py.typed").is_file()


@pytest.mark.parametrize("package", PACKAGES)
def test_every_folder_with_code_is_a_package(package: str) -> None:
    folders = {source.parent for source in (ROOT / package).rglob("*.py")}
    without = {str(f.relative_to(ROOT)) for f in folders if not (f / "__init__.py").is_file()}
    assert set() == without


def test_license_is_the_one_named(setup_cfg: configparser.ConfigParser) -> None:
    assert "Apache-2.0" == setup_cfg["metadata"]["license_expression"]
    assert "Apache License" in (ROOT / "LICENSE").read_text()[:200]


def test_changelog_has_an_unreleased_section() -> None:
    assert "\n## [Unreleased]\n" in (ROOT / "CHANGELOG.md").read_text()


def test_no_file_names_a_path_of_the_machine_it_was_written_on() -> None:
    git = shutil.which("git")
    if git is None or not (ROOT / ".git").exists():
        pytest.skip("this tree is no git checkout")
    listing = subprocess.run(
        [git, "-c", "safe.directory=*", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True
    )
    private = re.compile(rb"(?<![\w.$}])/" + rb"work/|\.\./" + rb"shared\b")
    guilty = [
        name.decode()
        for name in listing.stdout.split(b"\0")
        if name and (ROOT / name.decode()).is_file()
        if private.search((ROOT / name.decode()).read_bytes())
    ]
    assert [] == guilty
