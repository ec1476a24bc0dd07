"""Group commit: one thread per open database and process, one transaction for all who wait.

A COMMIT costs an fsync (on ZFS a write to the intent log); everything that is queued while one
runs shares the next, and is answered after it.

A failing request takes nobody with it. Nearly all fail in their checks, before their first write;
one that fails later has the transaction rolled back and repeated without it. That is what a
savepoint around each would give, for two statements less (of six, each of which hands the
interpreter's lock around).
"""

from __future__ import annotations

import logging
import threading
from queue import Empty, SimpleQueue
from typing import Any, Final

from modules.errors import StorageError, Unavailable
from zfsstore.host.errors import CommitUncertain
from zfsstore.host.namespace.database import Database
from zfsstore.host.namespace.request import Request, T, Work
from zfsstore.host.namespace.transaction import BucketState, Connection, Transaction

MAX_BATCH: Final = 256
_log = logging.getLogger(__name__)


class _BatchError(Exception):
    """The transaction is lost as a whole; ``__cause__`` says why."""

    def __init__(self, *, in_commit: bool) -> None:
        super().__init__()
        self.in_commit = in_commit


class _RequestError(Exception):
    """One request failed after it had written: the others are to be repeated without it."""

    def __init__(self, request: Request[Any]) -> None:
        super().__init__()
        self.request = request


class Writer:
    """The one writer of a database in this process. Its thread starts with the first request."""

    def __init__(self, database: Database, *, max_batch: int = MAX_BATCH) -> None:
        self._database = database
        self._max_batch = max_batch
        self._queue: SimpleQueue[Request[Any] | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._is_closed = False
        self._connection: Connection | None = None

    def submit(self, bucket_id: int, work: Work[T], *, is_deletion: bool = False) -> Request[T]:
        """Queue *work*, which must bear being run twice; ``wait`` for it or not.

        Args:
            is_deletion: it leads to free space, so it may use the space reserved for that.

        Raises:
            Conflict: the database is a replica's.
        """
        self._database.check_writable()
        request = Request(bucket_id, work, is_deletion=is_deletion)
        if self._thread is None:
            self._start()
        if self._is_closed:
            raise Unavailable("it is closed", operation="write index", subject=self._database.name)
        self._queue.put(request)
        return request

    def run(self, bucket_id: int, work: Work[T], *, is_deletion: bool = False) -> T:
        """Run *work* in a transaction and return its result once that is durable."""
        return self.submit(bucket_id, work, is_deletion=is_deletion).wait()

    def close(self) -> None:
        """Finish what is queued, then end the thread and close the connection."""
        with self._lock:
            if self._is_closed:
                return
            self._is_closed = True
            self._queue.put(None)
        if self._thread is not None:
            self._thread.join()

    def _start(self) -> None:
        with self._lock:
            if self._thread is None and not self._is_closed:
                self._thread = threading.Thread(
                    target=self._main, name=f"index-writer {self._database.name}", daemon=True
                )
                self._thread.start()

    def _main(self) -> None:
        is_open = True
        while is_open:
            first = self._queue.get()
            if first is None:
                break
            batch = [first]
            while len(batch) < self._max_batch:
                try:
                    request = self._queue.get_nowait()
                except Empty:
                    break
                if request is None:
                    is_open = False
                    break
                batch.append(request)
            self._write(batch)
        self._disconnect()

    def _write(self, batch: list[Request[Any]]) -> None:
        """Commit the batch, a second time if there is hope; answer everybody."""
        try:
            try:
                self._commit(batch)
            except _BatchError as failure:
                again = self._to_repeat(batch, failure)
                if not again:
                    raise
                self._fail(batch, failure)
                self._commit(again)
        except _BatchError as failure:
            self._fail(batch, failure)
        except Exception as error:  # the thread must live; whoever waits must hear
            _log.exception("index %s: writing failed", self._database.name)
            for request in batch:
                request.set_error(error)
        finally:
            for request in batch:
                request.answer()

    def _to_repeat(self, batch: list[Request[Any]], failure: _BatchError) -> list[Request[Any]]:
        """Return the requests of a lost transaction that may succeed now.

        On a full disk these are the deletions: what the ballast frees is for them alone.
        """
        database, cause = self._database, _cause(failure)
        if failure.in_commit and database.is_uncertain(cause):
            return []
        if not database.is_full(cause):
            return batch if database.is_disconnected(cause) else []
        deletions = [request for request in batch if request.is_deletion]
        if deletions and (database.release_reserve() or len(deletions) < len(batch)):
            return deletions
        return []

    def _commit(self, batch: list[Request[Any]]) -> None:
        """Commit all requests of the batch but those that fail, which get their errors."""
        remaining = batch
        while remaining:
            try:
                self._try_commit(remaining)
                return
            except _RequestError as failure:
                remaining = [request for request in remaining if request is not failure.request]

    def _try_commit(self, batch: list[Request[Any]]) -> None:
        driver = self._database.errors
        in_commit = False
        try:
            if self._connection is None:
                self._connection = self._database.connect()
            connection = self._connection
            with self._database.turn():
                connection.execute(self._database.begin)
                buckets = self._lock_buckets(connection, {request.bucket_id for request in batch})
                for request in batch:
                    self._run_one(connection, request, buckets.get(request.bucket_id))
                self._count(connection, buckets)
                in_commit = True
                connection.execute("COMMIT")
        except _RequestError:
            self._roll_back()
            raise
        except StorageError as error:  # from connect
            raise _BatchError(in_commit=False) from error
        except driver.Error as error:
            self._disconnect()  # which rolls back, whatever state the transaction is in
            raise _BatchError(in_commit=in_commit) from error
        except BaseException:
            self._disconnect()
            raise

    def _run_one(
        self, connection: Connection, request: Request[Any], bucket: BucketState | None
    ) -> None:
        """Run one request and keep its result or error."""
        database = self._database
        driver = database.errors
        tx = Transaction(
            connection,
            database.statements,
            request.bucket_id,
            bucket,
            has_lastrowid=database.has_lastrowid,
        )
        try:
            request.set_result(request.work(tx))
        except driver.Error as error:
            if not isinstance(error, (driver.IntegrityError, driver.DataError)):
                raise
            request.set_error(database.translate(error, "write index"))
            raise _RequestError(request) from error
        except Exception as error:  # the request's own; the others go on
            request.set_error(error)
            if tx.has_written:
                raise _RequestError(request) from error
        else:
            if bucket is not None:
                bucket.keys += tx.added_keys
                bucket.bytes += tx.added_bytes

    def _lock_buckets(self, connection: Connection, bucket_ids: set[int]) -> dict[int, BucketState]:
        """Read the rows of the buckets; on PostgreSQL, lock them in one order everywhere."""
        buckets = {}
        for bucket_id in sorted(bucket_ids):
            row = connection.execute(
                self._database.statements.lock_bucket, {"bucket_id": bucket_id}
            ).fetchone()
            if row is not None:
                buckets[bucket_id] = BucketState(row[0], bytes(row[1]), bool(row[2]))
        return buckets

    def _count(self, connection: Connection, buckets: dict[int, BucketState]) -> None:
        """Add what the batch changed to the buckets' counts."""
        for bucket_id, bucket in buckets.items():
            if bucket.keys or bucket.bytes:
                connection.execute(
                    self._database.statements.count,
                    {"bucket_id": bucket_id, "keys": bucket.keys, "bytes": bucket.bytes},
                )

    def _fail(self, batch: list[Request[Any]], failure: _BatchError) -> None:
        cause = _cause(failure)
        if failure.in_commit and self._database.is_uncertain(cause):
            error: StorageError = CommitUncertain(
                str(cause),
                operation="write index",
                subject=self._database.name,
                hint="look whether it is stored, then repeat",
            )
        elif isinstance(cause, StorageError):
            error = cause
        else:
            error = self._database.translate(cause, "write index")
        error.__cause__ = cause if error is not cause else None
        for request in batch:
            request.set_error(error)

    def _roll_back(self) -> None:
        if self._connection is not None:
            try:
                self._connection.execute("ROLLBACK")
            except self._database.errors.Error:
                self._disconnect()

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            try:
                connection.close()
            except self._database.errors.Error as error:
                _log.warning("index %s: closing failed: %s", self._database.name, error)


def _cause(failure: _BatchError) -> Exception:
    assert isinstance(failure.__cause__, Exception)  # raised with "from", always
    return failure.__cause__
