"""The README's half hour of an operator, on plain directories."""

from __future__ import annotations

from pathlib import Path

from tests.docs.operating import half_hour
from tests.docs.reading import Reader


def test_half_hour_on_directories(tmp_path: Path) -> None:
    reader = Reader(tmp_path, replacing={"--policy tank": "--policy default"})
    try:
        half_hour(reader)
        assert reader.run("zfsstore export list --json") == "[]\n"
    finally:
        assert reader.server.stop() == 0
