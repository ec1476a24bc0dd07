"""Imports go one way: zfsstore.host -> the rest of zfsstore -> modules; simple -> modules."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

BARE = {"modules", "simple"}
"""Packages that get along with the standard library."""

ALSO_USED = {
    "modules": {"modules"},
    "simple": {"simple", "modules"},
    "zfsstore": {"zfsstore", "modules"},
    "examples/newstore/newstore": {"newstore", "modules"},
}


def sources(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def imported(source: Path) -> Iterator[str]:
    """Yield the full dotted name of everything that a file imports, wherever it does."""
    for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{source}: imports are absolute"
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("package", ALSO_USED)
def test_package_has_sources(package: str) -> None:
    assert sources(package)


@pytest.mark.parametrize("package", [*sorted(BARE), "examples/newstore/newstore"])
def test_module_code_needs_the_standard_library_only(package: str) -> None:
    foreign = {
        f"{source.relative_to(ROOT)}: {name}"
        for source in sources(package)
        for name in imported(source)
        if name.partition(".")[0] not in sys.stdlib_module_names | ALSO_USED[package]
        and not is_optional_wrapper(source)
    }
    assert set() == foreign


def is_optional_wrapper(source: Path) -> bool:
    """Tell whether a file belongs to a wrapper, each of which has an extra of its own."""
    return source.is_relative_to(ROOT / "modules" / "wrappers")


@pytest.mark.parametrize("package", ALSO_USED)
def test_package_imports_no_other_package_of_the_project(package: str) -> None:
    ours = {"modules", "simple", "zfsstore", "newstore", "tests", "bench", "tools"}
    upward = {
        f"{source.relative_to(ROOT)}: {name}"
        for source in sources(package)
        for name in imported(source)
        if name.partition(".")[0] in ours - ALSO_USED[package]
    }
    assert set() == upward


def test_nothing_below_the_host_imports_it() -> None:
    host = ROOT / "zfsstore" / "host"
    above = (host, ROOT / "zfsstore" / "cli")
    upward = {
        f"{source.relative_to(ROOT)}: {name}"
        for source in sources("zfsstore")
        for name in imported(source)
        if f"{name}.".startswith("zfsstore.host.")
        and not any(source.is_relative_to(folder) for folder in above)
    }
    assert set() == upward


def test_the_host_does_not_import_the_command_line() -> None:
    upward = {
        f"{source.relative_to(ROOT)}: {name}"
        for source in sources("zfsstore/host")
        for name in imported(source)
        if f"{name}.".startswith("zfsstore.cli.")
    }
    assert set() == upward
