"""The same index in a real PostgreSQL, started for these tests."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest

from modules.errors import HasDependents, Unavailable, VolumeNotFound
from zfsstore.host.errors import PreconditionFailed
from zfsstore.host.namespace import bucket_changes
from zfsstore.host.namespace.index import Index
from zfsstore.host.namespace.journal import ViewState, ViewStatus
from zfsstore.host.namespace.opening import open_shared
from zfsstore.host.namespace.records import Conditions, Draft
from zfsstore.host.namespace.store import Store

pytestmark = pytest.mark.postgres

MakeDraft = Callable[..., Draft]


@pytest.fixture
def store(postgresql: str) -> Iterator[Store]:
    opened = Store(open_shared(postgresql))
    yield opened
    opened.close()


@pytest.fixture
def index(store: Store, request: pytest.FixtureRequest) -> Index:
    values = bucket_changes.new_bucket(tenant="acme", name=request.node.name, module="m")
    return Index(store, store.writer.run(0, lambda tx: bucket_changes.create_bucket(tx, values)))


def test_every_operation(index: Index, draft: MakeDraft) -> None:
    stored = draft(7, content_type="text/plain", metadata={"n": [1, None, "ü"]})
    outcome = index.put("a/é", stored)
    assert outcome.created
    assert outcome.version == index.get("a/é")
    replaced = index.put("a/é", draft(3), conditions=Conditions(if_match=(outcome.version.etag,)))
    assert outcome.version.object_id == replaced.version.object_id
    with pytest.raises(PreconditionFailed):
        index.put("a/é", draft(), conditions=Conditions(if_none_match=("*",)))
    assert 1 == len(replaced.released)
    assert list(replaced.released) == list(index.pending())
    index.forget_pending(replaced.released).wait()
    assert [] == list(index.pending())
    assert "a/é" == index.find_object_id(outcome.version.object_id)
    assert (1, 3) == (index.info().key_count, index.info().size_bytes)
    with pytest.raises(HasDependents):
        index.begin_delete()
    assert 1 == len(list(index.live_module_data("zfs1")))
    assert ("zfs1",) == tuple(index.modules())
    index.delete("a/é")
    index.begin_delete()
    with pytest.raises(VolumeNotFound):
        index.put("k", draft())


def test_order_is_byte_order(index: Index, draft: MakeDraft) -> None:
    names = ["Z", "a", "a.b", "a/b", "ab", "z", "é", "\U0001f600", "\ufffd"]
    for name in names:
        index.put(name, draft())
    assert sorted(names, key=str.encode) == [item.key for item in index.list_keys().items]
    rolled_up = [item.key for item in index.list_keys("", delimiter="/", after="a.b").items]
    assert ["a/", "ab", "z", "é", "\ufffd", "\U0001f600"] == rolled_up


def test_two_hosts_never_make_a_key_twice(postgresql: str, index: Index, draft: MakeDraft) -> None:
    other = Store(open_shared(postgresql))
    second = Index(other, index.info().id)
    created: list[bool] = []
    errors: list[BaseException] = []

    def work(target: Index, number: int) -> None:
        try:
            for step in range(10):
                created.append(target.put(f"shared-{step}", draft(1)).created)
                target.put(f"{number}/{step}", draft(1))
        except BaseException as error:
            errors.append(error)

    threads = [
        threading.Thread(target=work, args=(target, number))
        for number in range(8)
        for target in (index, second)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    other.close()
    assert [] == errors
    assert 10 == sum(created)
    assert 10 + 8 * 10 == index.info().key_count
    assert 90 == index.info().size_bytes


def test_a_connection_that_was_lost_is_replaced(
    store: Store, index: Index, draft: MakeDraft
) -> None:
    index.put("a", draft())
    assert index.get("a") is not None
    admin = store.database.connect()
    admin.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
        " AND backend_type = 'client backend'"
    )
    admin.close()
    index.put("b", draft())
    with pytest.raises(Unavailable):
        index.get("b")  # that a connection is dead shows when it is used
    assert index.get("b") is not None


def test_a_server_that_is_not_there() -> None:
    with pytest.raises(Unavailable, match=r"127\.0\.0\.1"):
        Store(open_shared("postgresql+psycopg://test:secret@127.0.0.1:1/postgres"))


def test_a_journal(index: Index, draft: MakeDraft) -> None:
    index.put("before", draft())
    index.journal.start("m")
    index.put("a/é", draft())
    index.put("b", draft())
    index.delete("a/é")
    keys, last = index.journal.changes()
    assert ["a/é", "b"] == keys
    assert 2 == index.journal.advance(state=ViewState.CURRENT, last=last, is_cleared=True)
    assert ViewStatus("m", ViewState.CURRENT, "", 2) == index.journal.status()
    assert ([], None) == index.journal.changes()
    index.journal.stop()
    index.put("later", draft())
    assert ([], None) == index.journal.changes()
