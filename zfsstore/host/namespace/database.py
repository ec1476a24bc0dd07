"""What the namespace asks of a database, and a pool of connections for reading."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from typing import Any, ClassVar

from sqlalchemy import Dialect

from modules.errors import Conflict, StorageError
from zfsstore.host.namespace.statements import Statements, compile_statements
from zfsstore.host.namespace.transaction import Connection


class Database(ABC):
    """One database: how to connect, what its errors mean, and its SQL.

    Connections are in autocommit mode; each is used by one thread at a time.
    """

    dialect: ClassVar[Dialect]
    begin: ClassVar[str]
    has_lastrowid: ClassVar[bool]
    is_read_only: ClassVar[bool] = False
    name: str

    @property
    def statements(self) -> Statements:
        """Every statement, as text for this database."""
        return compile_statements(self.dialect)

    @abstractmethod
    def prepare(self) -> None:
        """Create or migrate the tables.

        Raises:
            NotSupported: a newer release wrote them.
        """

    @abstractmethod
    def connect(self) -> Connection:
        """Return a new connection."""

    def check_writable(self) -> None:
        """Raise Conflict when it may only be read."""
        if self.is_read_only:
            raise Conflict(
                "it is a read-only replica",
                operation="change bucket",
                hint="change the one that it is a replica of, or have an operator break it off",
            )

    def close(self) -> None:
        """Let go of what is held beside connections; these are closed already."""
        return

    def turn(self) -> AbstractContextManager[None]:
        """Return what a writer holds around a transaction, so that processes take turns."""
        return nullcontext()

    @property
    @abstractmethod
    def errors(self) -> Any:
        """The driver's module, with the error classes of PEP 249."""

    @abstractmethod
    def is_full(self, error: Exception) -> bool:
        """Return whether the transaction failed for want of space."""

    @abstractmethod
    def release_reserve(self) -> bool:
        """Give back space that is held for deletions; return False when there is none left."""

    @abstractmethod
    def is_disconnected(self, error: Exception) -> bool:
        """Return whether a new connection may do better."""

    @abstractmethod
    def is_uncertain(self, error: Exception) -> bool:
        """Return whether a COMMIT that failed so may have been carried out all the same."""

    @abstractmethod
    def translate(self, error: Exception, operation: str) -> StorageError:
        """Return the error of modules.errors for one of the driver's."""


class Readers:
    """A bounded pool of connections for reading; a thread borrows one for a single question."""

    def __init__(self, database: Database, *, limit: int = 4) -> None:
        self._database = database
        self._idle: list[Connection] = []
        self._permits = threading.BoundedSemaphore(limit)

    @contextmanager
    def borrow(self) -> Iterator[Connection]:
        """Give a connection; what the driver raises inside is translated."""
        with self._permits:
            try:
                connection = self._idle.pop()
            except IndexError:
                connection = self._database.connect()
            try:
                yield connection
            except self._database.errors.Error as error:
                connection.close()
                self.close()  # the server may be gone, and every other connection with it
                raise self._database.translate(error, "read index") from error
            except BaseException:
                connection.close()
                raise
            self._idle.append(connection)

    def close(self) -> None:
        """Close every connection that nobody is using."""
        with suppress(IndexError):
            while True:
                self._idle.pop().close()
