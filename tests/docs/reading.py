"""Somebody who types what a page says, in a checkout with a running server."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.host.serving import Server

ROOT = Path(__file__).resolve().parents[2]
BLOCKS: Mapping[str, str] = dict(
    re.findall(r"<!-- test: ([\w ]+) -->\n```sh\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
)


class Reader:
    """Types the README's commands; what one block exports, the next ones have.

    Args:
        folder: an empty one, in which this works.
        replacing: in every block, where it occurs.
    """

    def __init__(self, folder: Path, *, replacing: Mapping[str, str] | None = None) -> None:
        self.folder = folder
        self._replacing = dict(replacing or {})
        self._exports = ['export AUTH="administrator:$(cat data/administrator.password)"']
        for name in ("README.md", "examples", "docs", "simple"):
            (folder / name).symlink_to(ROOT / name)
        self.server = Server(folder / "data").start()

    def types(self, block: str, *, replacing: Mapping[str, str] | None = None) -> str:
        """Run a block, stopping at the first command that fails; return what it printed.

        Args:
            replacing: what occurs in this block, and what to type instead.
        """
        for old in replacing or {}:
            assert old in BLOCKS[block]
        printed = self.run(self._adapted(BLOCKS[block], {**self._replacing, **(replacing or {})}))
        lines = BLOCKS[block].splitlines()
        self._exports += [self._adapted(line) for line in lines if line.startswith("export ")]
        return printed

    def run(self, commands: str) -> str:
        """Run commands of one's own in the same place; return what they printed."""
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        ran = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", "\n".join([*self._exports, commands])],
            cwd=self.folder,
            env={**os.environ, "PATH": path, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert ran.returncode == 0, ran.stdout + ran.stderr
        return ran.stdout

    def _adapted(self, commands: str, replacing: Mapping[str, str] | None = None) -> str:
        commands = commands.replace("127.0.0.1:8080", f"127.0.0.1:{self.server.port}")
        commands = commands.replace("curl ", "curl --silent --show-error --fail-with-body ")
        for old, new in (replacing or {}).items():
            commands = commands.replace(old, new)
        return commands
