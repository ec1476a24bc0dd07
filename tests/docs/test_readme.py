"""The README's commands, as they stand there, against a real server."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.host.serving import Server

ROOT = Path(__file__).resolve().parents[2]
BLOCKS = dict(
    re.findall(r"<!-- test: ([\w ]+) -->\n```sh\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
)


class Reader:
    """Somebody who types the README's commands, in a checkout with a running server."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("README.md", "examples", "docs", "simple"):
            (folder / name).symlink_to(ROOT / name)
        self.server = Server(folder / "data").start()

    def types(self, block: str, *, replacing: dict[str, str] | None = None) -> str:
        """Run a block, stopping at the first command that fails; return what it printed."""
        script = 'export AUTH="administrator:$(cat data/administrator.password)"\n' + BLOCKS[block]
        script = script.replace("127.0.0.1:8080", f"127.0.0.1:{self.server.port}")
        script = script.replace("curl ", "curl --silent --show-error --fail-with-body ")
        for old, new in (replacing or {}).items():
            assert old in script
            script = script.replace(old, new)
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        ran = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            cwd=self.folder,
            env={**os.environ, "PATH": path, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=100,
        )
        assert ran.returncode == 0, ran.stdout + ran.stderr
        return ran.stdout


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    reading = Reader(tmp_path_factory.mktemp("readme"))
    yield reading
    assert reading.server.stop() == 0


def test_every_marked_block_is_tested() -> None:
    assert set(BLOCKS) == {"first steps", "upload", "zfs", "accounts", "module"}


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


@pytest.mark.zfs
def test_zfs(reader: Reader) -> None:
    pool = os.environ["ZFSSTORE_TEST_POOL"]
    reader.types("zfs", replacing={"tank/objects": f"{pool}/readme", "100GiB": "100MiB"})
    listed = subprocess.run(
        ["zfs", "get", "-Hp", "-o", "value", "quota", f"{pool}/readme/acme"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert listed.stdout == f"{100 * 2**20}\n"
