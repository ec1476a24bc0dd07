"""The README's commands, as they stand there, against a real server."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.docs.reading import BLOCKS, ROOT, Reader

OPERATOR = {"tenant", "snapshot", "fork", "rollback", "export"}
"""Tested by test_operator_directory.py and tests/zfs/test_readme_operator.py."""

WRAPPED = {"wrap", "twice", "rotate", "shred"}
"""Tested by test_wrapped_tenant.py."""


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    reading = Reader(tmp_path_factory.mktemp("readme"))
    yield reading
    assert reading.server.stop() == 0


def test_every_marked_block_is_tested() -> None:
    others = {"first steps", "upload", "zfs", "accounts", "module"}
    assert set(BLOCKS) == others | OPERATOR | WRAPPED


def test_first_steps(reader: Reader) -> None:
    readme = (ROOT / "README.md").read_text()
    printed = reader.types("first steps")
    assert readme in printed
    assert readme[:10] in printed.replace(readme, "")
    assert '"name": "README.md"' in printed


def test_upload_of_a_tree(reader: Reader) -> None:
    printed = reader.types("upload", replacing={"/usr/share/doc": str(ROOT / "docs")})
    assert "201 design.md" in printed
    client = reader.server.client()
    assert (ROOT / "docs/design.md").read_bytes() == client.get("/cdmi/doc/design.md").body


def test_accounts(reader: Reader) -> None:
    printed = reader.types("accounts")
    (password,) = re.findall(r'"password": "([^"]+)"', printed)
    assert reader.server.client("bob", password).get("/cdmi/").status == 200
    assert reader.server.client("bob", "wrong").get("/cdmi/").status == 401


def test_module(reader: Reader) -> None:
    store = reader.folder / "newstore"
    printed = reader.types("module", replacing={"/var/tmp/newstore": str(store)})
    assert " passed, 0 failed" in printed
    shown = reader.server.client().get("/cdmi/system_configuration/vendor_modules/newstore")
    assert shown.json()["label"] == "New Storage Module"
