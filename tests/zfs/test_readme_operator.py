"""The README's half hour of an operator, on real datasets, with the NFS export."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.operating import half_hour
from tests.docs.reading import Reader
from tests.zfs import nfsserver
from tests.zfs.datasets import destroy_tree, zfs

pytestmark = pytest.mark.zfs


@pytest.fixture
def reader(tmp_path: Path, pool: str) -> Iterator[Reader]:
    dataset = f"{pool}/readme-{secrets.token_hex(4)}"
    replacing = {"tank/objects": dataset, "100GiB": "100MiB", "10.0.0.0/8": "127.0.0.1"}
    reading = Reader(tmp_path, replacing=replacing)
    yield reading
    assert reading.server.stop() == 0
    destroy_tree(dataset)


def test_half_hour_on_zfs(reader: Reader, tmp_path: Path) -> None:
    reader.types("zfs")
    half_hour(reader)
    dataset = json.loads(reader.run("zfsstore module show tank --json"))["args"]["dataset"]
    assert zfs("get", "-Hp", "-o", "value", "quota", f"{dataset}/acme") == f"{100 * 2**20}"
    assert zfs("get", "-H", "-o", "value", "origin", f"{dataset}/acme/fork") == "-"
    if not nfsserver.is_possible():
        pytest.skip("only the virtual machine may have an NFS server")
    with nfsserver.serving():
        printed = reader.types("export")
        assert "exported acme/photos to 127.0.0.1: mount /" in printed
        path = json.loads(reader.run("zfsstore export show acme/photos --json"))["path"]
        with nfsserver.mounted(path, tmp_path / "client") as client:
            assert "the second draft\n" == (client / "files/plan.txt").read_text()
            with pytest.raises(OSError, match="Read-only"):
                (client / "written").touch()
        reader.run("zfsstore export remove acme/photos")
        assert reader.run("zfsstore export list --json") == "[]\n"
