"""kill -9 of workers, round after round on one store in a directory."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.powercut.killing import run_rounds
from tools.powercut.stores import Site


def directory_site(folder: Path) -> Site:
    return Site(str(folder / "names.db"), directory=str(folder / "store"))


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("workers", [1, 2])
def test_hundreds_of_killed_workers_lose_nothing(tmp_path: Path, workers: int) -> None:
    run_rounds(directory_site(tmp_path), rounds=200, workers=workers, seed=f"many {workers}")
