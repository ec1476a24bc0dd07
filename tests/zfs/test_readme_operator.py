"""The README's half hour of an operator, on real datasets, with the NFS export."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import Store
from tests.docs.operating import half_hour
from tests.docs.reading import Reader
from tests.zfs import nfsserver
from tests.zfs.datasets import destroy_tree, value

pytestmark = pytest.mark.zfs


@pytest.fixture
def dataset(pool: str) -> Iterator[str]:
    name = f"{pool}/readme-{secrets.token_hex(4)}"
    yield name
    destroy_tree(name)


@pytest.fixture
def reader(tmp_path: Path, dataset: str) -> Iterator[Reader]:
    replacing = {"tank/objects": dataset, "10.0.0.0/8": "127.0.0.1"}
    reading = Reader(tmp_path, replacing=replacing)
    yield reading
    assert reading.server.stop() == 0


def test_half_hour_on_zfs(
    reader: Reader, dataset: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    reader.types("zfs")
    half_hour(reader)
    assert str(100 * 2**30) == value(f"{dataset}/acme", "quota")
    assert "-" == value(f"{dataset}/acme/fork", "origin")
    if not nfsserver.is_possible():
        pytest.skip("only the virtual machine may have an NFS server")
    store = Store(tmp_path / "data", capsys)
    with nfsserver.serving():
        printed = reader.types("export")
        path = store.json("export", "show", "acme/photos")["path"]
        assert f"exported acme/photos to 127.0.0.1: mount {path}\n" in printed
        with nfsserver.mounted(path, tmp_path / "client") as client:
            assert "the second draft\n" == (client / "files/plan.txt").read_text()
            with pytest.raises(OSError, match="Read-only"):
                (client / "written").touch()
        store.says("export", "remove", "acme/photos")
        assert [] == store.json("export", "list")
