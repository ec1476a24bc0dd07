"""An index in a directory, as a volume would hold it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest

from zfsstore.host.namespace.index import Index
from zfsstore.host.namespace.records import Blob, Draft, Extent
from zfsstore.host.namespace.sqlite import VolumeDatabase
from zfsstore.host.namespace.store import Store

_numbers = count()

MakeDraft = Callable[..., Draft]


@pytest.fixture
def state_dir(tmp_path: Path) -> Path:
    directory = tmp_path / "state"
    directory.mkdir()
    return directory


@pytest.fixture
def store(state_dir: Path) -> Iterator[Store]:
    opened = Store(VolumeDatabase(state_dir))
    yield opened
    opened.close()


@pytest.fixture
def index(store: Store) -> Index:
    return Index(store)


@pytest.fixture
def draft() -> MakeDraft:
    """Return a maker of objects of one blob each, whose module_data is never the same."""

    def make(size: int = 5, *, module: str = "zfs1", **fields: object) -> Draft:
        blob = Blob(module, f"data-{next(_numbers)}", size)
        return Draft(extents=(Extent(blob, 0, size),), **fields)  # type: ignore[arg-type]

    return make
