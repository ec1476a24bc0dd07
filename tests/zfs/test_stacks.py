"""Deduplication above encryption on real datasets: objects and index follow the volume."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from modules.conformance import ModuleSpec
from tests.wrappers.stacked import Stack, fail_across_a_rollback, follow_the_volume
from tests.zfs.datasets import STORE_ARGUMENTS, destroy_tree, zfs

pytestmark = pytest.mark.zfs


@pytest.fixture(scope="module")
def other_dataset(pool: str) -> Iterator[str]:
    name = f"{pool}/replica-{secrets.token_hex(4)}"
    zfs("create", name)
    yield name
    destroy_tree(name)


def stack_on(dataset: str, keys: Path) -> Stack:
    leaf = ModuleSpec("zfsstore.ZFSStorage", {"dataset": dataset, **STORE_ARGUMENTS})
    return Stack(leaf, keys)


def test_objects_follow_their_volume(root_dataset: str, other_dataset: str, tmp_path: Path) -> None:
    with stack_on(root_dataset, tmp_path) as one, stack_on(other_dataset, tmp_path) as two:
        follow_the_volume(one, two)


def test_a_put_fails_that_a_rollback_overtakes(root_dataset: str, tmp_path: Path) -> None:
    with stack_on(root_dataset, tmp_path) as stack:
        fail_across_a_rollback(stack, "overtaken")
