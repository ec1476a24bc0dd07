"""kill -9 of workers, round after round on one store in a dataset: docs/durability.md."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

import pytest

from tests.powercut.killing import run_rounds
from tests.zfs.datasets import destroy_tree, zfs
from tools.powercut.stores import Site

ROUNDS = int(os.environ.get("ZFSSTORE_KILL_ROUNDS", "10"))


@pytest.mark.zfs
@pytest.mark.timeout(600 + 30 * ROUNDS)
@pytest.mark.parametrize("workers", [1, 2])
def test_killed_workers_lose_nothing_on_zfs(tmp_path: Path, workers: int) -> None:
    pool = os.environ.get("ZFSSTORE_TEST_POOL")
    assert pool, "ZFSSTORE_TEST_POOL names no pool; run tools/test-zfs"
    dataset = f"{pool}/kill-{secrets.token_hex(4)}"
    zfs("create", dataset)
    try:
        site = Site(str(tmp_path / "names.db"), dataset=dataset)
        run_rounds(site, rounds=ROUNDS, workers=workers, seed=f"zfs {workers}")
    finally:
        destroy_tree(dataset)
