"""The README's half hour of an operator, on plain directories."""

from __future__ import annotations

from pathlib import Path

from tests.docs.operating import half_hour
from tests.docs.reading import Reader


def test_half_hour_on_directories(tmp_path: Path) -> None:
    reader = Reader(tmp_path, replacing={"--policy tank": "--policy default"})
    try:
        half_hour(reader)
        without = {"zfsstore export add acme/photos --client 10.0.0.0/8\n": ""}
        assert reader.types("export", replacing=without).startswith("published acme/photos\n")
        (published,) = tmp_path.glob("data/**/photos/files/plan.txt")
        assert published.read_text() == "the second draft\n"
    finally:
        assert reader.server.stop() == 0
