"""What ``from package import *`` promises is there."""

from __future__ import annotations

import importlib

import pytest


@pytest.mark.parametrize(
    "name", ["modules", "modules.conformance", "modules.extensions", "simple", "tests", "zfsstore"]
)
def test_all_names_exist(name: str) -> None:
    package = importlib.import_module(name)
    assert [] == [public for public in package.__all__ if not hasattr(package, public)]
