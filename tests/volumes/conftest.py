"""A store in memory for each test: what is tested is what is there, not how fast it is flushed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conformance.memory import directory_in_memory
from zfsstore import ZFSStorage


@pytest.fixture
def root() -> Iterator[Path]:
    with directory_in_memory() as directory:
        yield Path(directory, "objects")


@pytest.fixture
def store(root: Path) -> ZFSStorage:
    return ZFSStorage(directory=str(root))
