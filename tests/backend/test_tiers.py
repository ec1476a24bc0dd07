"""What is offered is reachable, and nothing else is."""

from __future__ import annotations

import pytest

from modules.errors import NotSupported
from modules.volumes import CloneBackend, ReplicationBackend
from tests.backend.scripted import knowing, populated
from zfsstore import ZfsBackend


def test_a_runner_that_streams_gives_replication() -> None:
    backend = ZfsBackend()
    assert {"snapshots": True, "clones": True, "replication": True} == backend.capabilities()
    assert backend is backend.as_snapshot() is backend.as_clone() is backend.as_replication()
    assert isinstance(backend, ReplicationBackend)


def test_a_plain_runner_does_not() -> None:
    backend = knowing(populated())
    assert not backend.capabilities()["replication"]
    assert isinstance(backend.as_clone(), CloneBackend)
    assert backend.as_replication() is None
    with pytest.raises(NotSupported):
        backend.send_stream("v1", "s1")
