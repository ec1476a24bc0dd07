"""The published conformance suite for such backends against our volumes in plain directories."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from zfsstore import ZFSStorage

nessie_backend_conformance = pytest.importorskip(
    "nessie_backend_conformance", reason="install the test extra", exc_type=ImportError
)


class Reached:
    """Our volumes, with a kind of handle that the suite knows: it has none for a directory."""

    def __init__(self, volumes: Any) -> None:
        self._volumes = volumes

    def __getattr__(self, name: str) -> Any:
        return getattr(self._volumes, name)

    def access_handle(self, uuid: str) -> dict[str, Any]:
        handle = self._volumes.access_handle(uuid)
        assert "directory" == handle["kind"]
        assert Path(handle["path"]).is_dir()
        return {"kind": "nfs_export", "server": "127.0.0.1", "path": handle["path"]}


def test_the_published_suite_passes(tmp_path: Path) -> None:
    volumes = ZFSStorage(directory=str(tmp_path)).volumes
    nessie_backend_conformance.run_all(Reached(volumes))
    assert [] == volumes.list_volumes(), "the suite cleans up"
