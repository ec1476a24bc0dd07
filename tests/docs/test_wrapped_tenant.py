"""The README's tenant that is encrypted and deduplicated, on plain directories."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.reading import Reader

ASK = 'curl -s -o answer -w "%{http_code} " -u "$LAB" '


@pytest.mark.slow
def test_wrapped_tenant_on_directories(tmp_path: Path) -> None:
    wrapped_tenant(Reader(tmp_path, replacing={'"inner": "tank"': '"inner": "default"'}))


def wrapped_tenant(reader: Reader) -> None:
    """Type all of it, and look at what is printed, and at what is stored."""
    try:
        printed = reader.types("wrap")
        assert '"keys": {"table": ' in printed
        assert "created tenant lab\n" in printed

        header, row = reader.types("twice").splitlines()[-2:]
        assert ["VOLUME", "OBJECTS", "LOGICAL", "STORED"] == header.split()[:4]
        found = row.split()
        assert ["lab/scans", "2", "7.6", "MiB", "3.8", "MiB"] == found[:6]
        assert 1.9 < float(found[-1]) < 2.1

        printed = reader.types("rotate")
        assert "wrapped 2 keys with the root key local:" in printed
        assert "version 2 is active\n" in printed
        (row,) = (line for line in printed.splitlines() if line.startswith("lab/scans"))
        assert ["lab/scans", "3", "1", "0", "0"] == row.split()  # two objects; they share a pack

        printed = reader.types("shred")
        assert "destroyed the keys of lab/scans\n" in printed
        states = [line.split()[3] for line in printed.splitlines() if "lab/scans " in line]
        assert ["destroyed", "destroyed"] == states
    finally:
        assert reader.server.stop() == 0
    reader.server.start()  # what a worker had in memory is gone, as it is within a minute
    try:
        assert "410 " == reader.run(f"{ASK} $URL/scans/monday.raw")
        assert "key_destroyed" in (reader.folder / "answer").read_text()
        assert "200 " == reader.run(f"{ASK} $URL/scans/")
    finally:
        assert reader.server.stop() == 0
