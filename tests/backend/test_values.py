"""The value types."""

from __future__ import annotations

import pytest

from tests.backend.scripted import C1, V1, knowing, populated
from zfsstore.backend.values import Capabilities, CloneOrigin, Snapshot, Volume, VolumePatch


@pytest.mark.parametrize(
    ("capabilities", "expected"),
    [
        (Capabilities(), True),
        (Capabilities(snapshots=True), True),
        (Capabilities(snapshots=True, clones=True, replication=True), True),
        (Capabilities(clones=True), False),
        (Capabilities(replication=True), False),
    ],
)
def test_clones_and_replication_need_snapshots(capabilities: Capabilities, expected: bool) -> None:
    assert expected == capabilities.is_consistent()


def test_what_the_backend_returns_makes_values() -> None:
    backend = knowing(populated())
    assert Capabilities(**backend.capabilities()).is_consistent()
    volume, clone = (Volume(**(backend.get_volume(uuid) or {})) for uuid in (V1, C1))
    assert not volume.is_clone()
    assert CloneOrigin("v1", "s1") == clone.clone
    (snapshot,) = backend.list_snapshots(V1)
    assert "s1" == Snapshot(**snapshot).name


def test_an_empty_patch() -> None:
    assert VolumePatch().is_empty()
    assert not VolumePatch(size_bytes=1).is_empty()
