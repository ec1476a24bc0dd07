"""What an index needs of a database: connections, transactions, and errors that are ours.

One set of statements serves both databases, in SQLite's dialect; what PostgreSQL wants otherwise,
its connections translate.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar, Final, Protocol, TypeVar

from modules.errors import StorageError

T = TypeVar("T")
_MAX_IDLE: Final = 4


class Cursor(Protocol):
    """The rows of a statement."""

    @property
    def rowcount(self) -> int: ...

    def fetchone(self) -> Any: ...

    def fetchall(self) -> list[Any]: ...

    def __iter__(self) -> Iterator[Any]: ...


class Connection(Protocol):
    """What is used of ``sqlite3.Connection``, in autocommit mode."""

    @property
    def in_transaction(self) -> bool: ...

    def execute(self, statement: str, parameters: Sequence[Any] = ..., /) -> Cursor: ...

    def executemany(self, statement: str, parameters: Iterable[Sequence[Any]], /) -> Cursor: ...

    def rollback(self) -> None: ...

    def close(self) -> None: ...


class Database:
    """One index. Threads may share it, processes must not.

    Attributes:
        name: where it is, for errors; no password is in it.
        is_read_only: it lies in a snapshot or a replica, where nothing may be written.
        is_absent: it is to be read only, and there is none.
        is_remote: it does not lie with the packs.
    """

    driver_errors: ClassVar[type[Exception]]
    name: str
    is_read_only: bool = False
    is_remote: bool = False

    def __init__(self) -> None:
        self._idle: list[Connection] = []
        self._lock = threading.Lock()
        self._write_lock = threading.Lock()
        self._is_closed = False

    @property
    def is_absent(self) -> bool:
        """True in a snapshot that was taken before anything was put."""
        return False

    @contextmanager
    def reading(self, operation: str) -> Iterator[Connection]:
        """Give a connection; within the block every statement sees what is committed then.

        From ``BEGIN`` to ``COMMIT`` all of them see the same.
        """
        connection = self._take(operation)
        try:
            yield connection
        except self.driver_errors as error:
            self._drop(connection)
            raise self.translate(error, operation) from error
        except BaseException:
            if connection.in_transaction:
                connection.rollback()
            self._give_back(connection)
            raise
        self._give_back(connection)

    def stream(
        self, connection: Connection, statement: str, parameters: Sequence[Any] = ()
    ) -> Iterator[Any]:
        """Yield the rows of a statement that has very many, within ``BEGIN`` and ``COMMIT``."""
        yield from connection.execute(statement, parameters)

    def write(self, operation: str, action: Callable[[Connection], T], *, frees: bool = False) -> T:
        """Run *action* in one write transaction, alone; durable on return.

        Args:
            frees: it makes room, so the space kept for that may be used.
        """
        return self._write(operation, action)

    def _write(self, operation: str, action: Callable[[Connection], T]) -> T:
        with self._write_lock, self.reading(operation) as connection:
            self._begin_write(connection)
            try:
                result = action(connection)
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
            return result

    def close(self) -> None:
        """Close all connections; nobody may be using one."""
        with self._lock:
            self._is_closed = True
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def translate(self, error: Exception, operation: str) -> StorageError:
        """Return an error of the driver's as one of ours."""
        raise NotImplementedError

    def _connect(self) -> Connection:
        raise NotImplementedError

    def _begin_write(self, connection: Connection) -> None:
        """Begin a transaction in which nobody else writes."""
        raise NotImplementedError

    def _take(self, operation: str) -> Connection:
        with self._lock:
            if self._idle:
                return self._idle.pop()
        try:
            return self._connect()
        except self.driver_errors as error:
            raise self.translate(error, operation) from error

    def _drop(self, connection: Connection) -> None:
        """Forget a connection that an error came from."""
        connection.close()

    def _give_back(self, connection: Connection) -> None:
        with self._lock:
            if not self._is_closed and len(self._idle) < _MAX_IDLE:
                self._idle.append(connection)
                return
        connection.close()
