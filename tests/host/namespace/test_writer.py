from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from typing import Any

import pytest

from modules.errors import Busy, Conflict, NoSpace, ObjectNotFound, SubstrateError, Unavailable
from modules.state import BALLAST_BYTES
from zfsstore.host.errors import CommitUncertain
from zfsstore.host.namespace import bucket_changes, changes
from zfsstore.host.namespace.index import Index
from zfsstore.host.namespace.records import Conditions, Draft
from zfsstore.host.namespace.request import Request, Work
from zfsstore.host.namespace.sqlite import VolumeDatabase
from zfsstore.host.namespace.store import Store
from zfsstore.host.namespace.transaction import Transaction

MakeDraft = Callable[..., Draft]


def put_work(key: str, draft: Draft) -> Work[object]:
    return lambda tx: changes.put(tx, key.encode(), draft, Conditions(), as_tree=False)


def submit_together(
    store: Store, works: list[Work[object]], deletions: list[bool] | None = None
) -> list[Request[object]]:
    """Queue all while the writer is held up, so that they share the next transaction."""
    entered, go = threading.Event(), threading.Event()

    def hold(tx: Transaction) -> None:
        entered.set()
        go.wait(30)

    held = store.writer.submit(1, hold)
    entered.wait(30)
    flags = deletions or [False] * len(works)
    requests = [
        store.writer.submit(1, work, is_deletion=flag)
        for work, flag in zip(works, flags, strict=True)
    ]
    go.set()
    held.wait()
    return requests


class Commits:
    """A connection that counts, and fails as told."""

    def __init__(
        self, connection: Any, failures: dict[str, list[sqlite3.OperationalError]]
    ) -> None:
        self._connection = connection
        self._failures = failures
        self.commits = 0

    def execute(self, sql: str, *parameters: Any) -> Any:
        failures = self._failures.get(sql.split()[0], [])
        if failures:
            raise failures.pop(0)
        if sql == "COMMIT":
            self.commits += 1
        return self._connection.execute(sql, *parameters)

    def close(self) -> None:
        self._connection.close()


def watch(store: Store, **failures: list[sqlite3.OperationalError]) -> list[Commits]:
    """Let the writer's next connections count commits and raise the given failures."""
    connect = store.database.connect
    made: list[Commits] = []

    def connect_watched() -> Any:
        made.append(Commits(connect(), failures))
        return made[-1]

    store.database.connect = connect_watched  # type: ignore[method-assign]
    return made


def sqlite_error(code: int, text: str = "injected") -> sqlite3.OperationalError:
    error = sqlite3.OperationalError(text)
    error.sqlite_errorcode = code
    return error


def test_what_waits_shares_one_transaction(store: Store, draft: MakeDraft) -> None:
    watched = watch(store)
    works = [put_work(f"k{number}", draft()) for number in range(100)]
    for request in submit_together(store, works):
        request.wait()
    assert [2] == [connection.commits for connection in watched]  # the held one, then all
    assert 100 == Index(store).info().key_count


def test_a_batch_is_bounded(state_dir: Any, draft: MakeDraft) -> None:
    store = Store(VolumeDatabase(state_dir), max_batch=10)
    watched = watch(store)
    works = [put_work(f"k{number}", draft()) for number in range(35)]
    for request in submit_together(store, works):
        request.wait()
    store.close()
    assert 1 + 4 == watched[0].commits


def test_a_request_that_fails_its_checks_harms_no_other(store: Store, draft: MakeDraft) -> None:
    works: list[Work[object]] = [
        put_work("a", draft()),
        lambda tx: changes.delete(tx, b"absent", Conditions()),
        put_work("b", draft()),
    ]
    first, failing, last = submit_together(store, works)
    first.wait()
    with pytest.raises(ObjectNotFound):
        failing.wait()
    last.wait()
    assert 2 == Index(store).info().key_count


@pytest.mark.parametrize("error", [ValueError("a bug"), Conflict("late")])
def test_a_request_that_fails_after_writing_leaves_nothing(
    store: Store, draft: MakeDraft, error: Exception
) -> None:
    def write_then_fail(tx: Transaction) -> None:
        changes.put(tx, b"half", draft(), Conditions(), as_tree=False)
        raise error

    works = [put_work("a", draft()), write_then_fail, put_work("b", draft()), write_then_fail]
    first, failing, last, failing_too = submit_together(store, works)
    first.wait()
    last.wait()
    for request in (failing, failing_too):
        with pytest.raises(type(error)):
            request.wait()
    index = Index(store)
    assert ["a", "b"] == [item.key for item in index.list_keys().items]
    assert (2, 10) == (index.info().key_count, index.info().size_bytes)


def test_a_constraint_of_the_database_harms_no_other(store: Store, draft: MakeDraft) -> None:
    def duplicate(tx: Transaction) -> None:
        tx.insert(tx.sql.insert_bucket, bucket_changes.new_bucket())

    works = [put_work("a", draft()), duplicate, put_work("b", draft())]
    first, failing, last = submit_together(store, works)
    first.wait()
    with pytest.raises(Conflict):
        failing.wait()
    last.wait()
    assert 2 == Index(store).info().key_count


def test_later_requests_of_a_batch_see_earlier_ones(store: Store, draft: MakeDraft) -> None:
    works = [put_work("k", draft()) for _ in range(5)]
    outcomes = [request.wait() for request in submit_together(store, works)]
    assert [True, False, False, False, False] == [o.created for o in outcomes]  # type: ignore[attr-defined]
    assert 4 == len(list(Index(store).pending()))


@pytest.mark.parametrize("statement", ["COMMIT", "DELETE"])
def test_on_a_full_disk_a_deletion_gets_the_ballast(
    store: Store, draft: MakeDraft, statement: str
) -> None:
    ballast = store.database.directory / "ballast"  # type: ignore[attr-defined]
    assert BALLAST_BYTES == ballast.stat().st_size
    index = Index(store)
    index.put("k", draft())
    store.writer._disconnect()
    watch(store, **{statement: [sqlite_error(sqlite3.SQLITE_FULL)]})
    assert 1 == len(index.delete("k"))
    assert not ballast.exists()
    assert 0 == index.info().key_count


@pytest.mark.parametrize("code", [sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_WRITE])
def test_on_a_full_disk_a_put_fails_and_leaves_the_ballast(
    store: Store, draft: MakeDraft, code: int
) -> None:
    index = Index(store)
    index.put("old", draft())
    store.writer._disconnect()
    watch(store, INSERT=[sqlite_error(code)])
    with pytest.raises((NoSpace, SubstrateError)):
        index.put("k", draft())
    assert (store.database.directory / "ballast").exists()  # type: ignore[attr-defined]
    assert index.put("k", draft()).created  # and the writer goes on


def test_on_a_full_disk_deletions_pass_puts_of_their_batch(store: Store, draft: MakeDraft) -> None:
    index = Index(store)
    index.put("old", draft())
    store.writer._disconnect()
    watch(store, INSERT=[sqlite_error(sqlite3.SQLITE_FULL, "database or disk is full")])
    put, delete = submit_together(
        store,
        [put_work("new", draft()), lambda tx: changes.delete(tx, b"old", Conditions())],
        deletions=[False, True],
    )
    with pytest.raises(NoSpace, match="delete something"):
        put.wait()
    delete.wait()
    assert 0 == index.info().key_count


def test_a_disk_that_stays_full_fails_everybody(store: Store, draft: MakeDraft) -> None:
    index = Index(store)
    index.put("old", draft())
    store.writer._disconnect()
    full = [sqlite_error(sqlite3.SQLITE_FULL, "database or disk is full") for _ in range(2)]
    watch(store, DELETE=full)
    with pytest.raises(NoSpace, match="delete something"):
        index.delete("old")
    assert ["old"] == [item.key for item in index.list_keys().items]


def test_a_commit_of_unknown_outcome_says_so(store: Store, draft: MakeDraft) -> None:
    watch(store, COMMIT=[sqlite_error(sqlite3.SQLITE_IOERR_FSYNC)])
    with pytest.raises(CommitUncertain):
        Index(store).put("k", draft())


def test_a_locked_database_is_busy(store: Store, draft: MakeDraft) -> None:
    watch(store, BEGIN=[sqlite_error(sqlite3.SQLITE_BUSY)])
    with pytest.raises(Busy):
        Index(store).put("k", draft())
    assert Index(store).put("k", draft()).created


def test_close_finishes_what_is_queued(state_dir: Any, draft: MakeDraft) -> None:
    store = Store(VolumeDatabase(state_dir))
    requests = [store.writer.submit(1, put_work(f"k{n}", draft())) for n in range(50)]
    store.close()
    for request in requests:
        request.wait()
    with pytest.raises(Unavailable):
        store.writer.submit(1, put_work("late", draft()))
    reopened = Store(VolumeDatabase(state_dir))
    assert 50 == Index(reopened).info().key_count
    reopened.close()


def test_thirty_two_threads_lose_and_double_nothing(store: Store, draft: MakeDraft) -> None:
    index = Index(store)
    errors: list[BaseException] = []

    def work(thread: int) -> None:
        try:
            for number in range(20):
                index.put(f"{thread}/{number}", draft(1))
                index.put(f"shared-{number}", draft(1))
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(32)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [] == errors
    assert (32 * 20 + 20) == index.info().key_count
    assert (32 * 20 - 20) == len(list(index.pending()))
