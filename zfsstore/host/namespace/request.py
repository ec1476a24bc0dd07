"""One request to the writer of an index, and the wait for its answer."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from zfsstore.host.namespace.transaction import Transaction

T = TypeVar("T")
Work = Callable[[Transaction], T]


class Request(Generic[T]):
    """One request in the queue; ``wait`` gives its result once that is durable."""

    __slots__ = ("_done", "_error", "_result", "bucket_id", "is_deletion", "work")

    def __init__(self, bucket_id: int, work: Work[T], *, is_deletion: bool = False) -> None:
        self.bucket_id = bucket_id
        self.is_deletion = is_deletion
        self.work = work
        # A bare lock: an Event or a Future would cost as much as the statements.
        self._done = threading.Lock()
        self._done.acquire()
        self._result: T | None = None
        self._error: BaseException | None = None

    def wait(self) -> T:
        """Return what the work returned, after the COMMIT, or raise what it raised."""
        self._done.acquire()
        self._done.release()
        if self._error is not None:
            raise self._error
        return self._result  # type: ignore[return-value]  # None only where T is None

    def set_result(self, result: T) -> None:
        """Keep the result; nobody sees it before ``answer``."""
        self._result, self._error = result, None

    def set_error(self, error: BaseException) -> None:
        """Keep the error; nobody sees it before ``answer``."""
        self._error = error

    def answer(self) -> None:
        """Wake the thread that waits."""
        self._done.release()
