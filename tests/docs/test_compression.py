"""docs/compression.md: its commands do what it says, and its table names what there is."""

from __future__ import annotations

import inspect
from pathlib import Path

from modules.wrappers.compression import CompressedStorage
from tests.conformance.memory import directory_in_memory
from tests.docs.test_modules_tutorial import BLOCK, ROOT, Reader
from zfsstore.host.bootstrap import bootstrap
from zfsstore.host.config import Config

PAGE = (ROOT / "docs" / "compression.md").read_text()


def test_commands_are_run_as_they_stand() -> None:
    blocks = BLOCK.findall(PAGE)
    assert len(blocks) == PAGE.count("<!-- ")
    with directory_in_memory() as folder:
        bootstrap(Config(data_dir=Path(folder, "data")))
        reader = Reader(Path(folder))
        for kind, argument, text in blocks:
            getattr(reader, kind)(argument, text)


def test_every_argument_is_described() -> None:
    for name in inspect.signature(CompressedStorage).parameters:
        assert f"`{name}`" in PAGE, name
