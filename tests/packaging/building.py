"""Wheels and eggs, built from copies, so that nothing is left in the checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
_OURS = ("setup.py", "setup.cfg", "pyproject.toml", "MANIFEST.in", "README.md", "LICENSE")
_LEFT_OUT = shutil.ignore_patterns("__pycache__", "*.pyc", "build", "dist", "*.egg-info")


def copy_of_project(folder: Path) -> Path:
    """Return a copy of what zfsstore is built from, and of `tests`, which must stay out."""
    target = folder / "project"
    target.mkdir()
    for name in _OURS:
        shutil.copy(ROOT / name, target)
    for package in ("modules", "simple", "zfsstore", "tests"):
        shutil.copytree(ROOT / package, target / package, ignore=_LEFT_OUT)
    return target


def copy_of_newstore(folder: Path) -> Path:
    """Return a copy of the third party's package."""
    return shutil.copytree(ROOT / "examples" / "newstore", folder / "newstore", ignore=_LEFT_OUT)


def build_wheel(source: Path, *, python: str = sys.executable) -> Path:
    """Return the wheel of *source*, made with what is installed already."""
    dist = source / "dist"
    _run(
        *(python, "-m", "pip", "-q", "--disable-pip-version-check", "wheel", "--no-deps"),
        *("--no-build-isolation", "--no-index", "-w", str(dist), "."),
        cwd=source,
    )
    return next(dist.glob("*.whl"))


def build_egg(source: Path, *, python: str = sys.executable) -> Path:
    """Return the egg of *source*, built where an environment forbids writing byte code."""
    _run(python, "setup.py", "-q", "bdist_egg", cwd=source, PYTHONDONTWRITEBYTECODE="1")
    return next((source / "dist").glob("*.egg"))


def names_in(archive: Path) -> set[str]:
    """Return the files in a wheel or egg, without its metadata."""
    with zipfile.ZipFile(archive) as opened:
        names = opened.namelist()
    return {n for n in names if not n.partition("/")[0].endswith((".dist-info", "EGG-INFO"))}


def _run(*argv: str, cwd: Path, **env: str) -> None:
    done = subprocess.run(
        argv, cwd=cwd, env={**os.environ, **env}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{' '.join(argv)}:\n{done.stdout}\n{done.stderr}"
