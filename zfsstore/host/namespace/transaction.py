"""A write request's view of the running transaction, and of the driver below it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Protocol

from modules.errors import VolumeNotFound
from zfsstore.host.namespace.statements import Statements

IN_USE: Final = 0
DELETING: Final = 1


class Cursor(Protocol):
    """The part of a driver's cursor that is used."""

    @property
    def lastrowid(self) -> int | None: ...

    @property
    def rowcount(self) -> int: ...

    def fetchone(self) -> Any: ...

    def fetchall(self) -> list[Any]: ...


class Connection(Protocol):
    """The part of a driver's connection that is used: sqlite3's and psycopg's are the same."""

    def execute(self, sql: Any, parameters: Any = ..., /) -> Cursor: ...

    def close(self) -> None: ...


@dataclass(slots=True)
class BucketState:
    """What a batch knows about a bucket that it has locked."""

    state: int
    object_id: bytes
    is_published: bool = False
    keys: int = 0
    bytes: int = 0


class Transaction:
    """One request's view of the running transaction: one bucket, locked."""

    __slots__ = (
        "_has_lastrowid",
        "added_bytes",
        "added_keys",
        "bucket_id",
        "has_written",
        "locked",
        "run",
        "sql",
    )

    def __init__(
        self,
        connection: Connection,
        statements: Statements,
        bucket_id: int,
        locked: BucketState | None,
        *,
        has_lastrowid: bool,
    ) -> None:
        self.run = connection.execute
        self.sql = statements
        self.bucket_id = bucket_id
        self.added_keys = 0
        self.added_bytes = 0
        self.has_written = False
        self.locked = locked
        self._has_lastrowid = has_lastrowid

    @property
    def bucket(self) -> BucketState:
        """The bucket's row.

        Raises:
            VolumeNotFound: it was deleted meanwhile.
        """
        if self.locked is None or self.locked.state != IN_USE:
            raise VolumeNotFound("the bucket was deleted", operation="change bucket")
        return self.locked

    def write(self, statement: str, values: dict[str, Any]) -> None:
        """Change rows. Every check comes before the first write: see Writer."""
        self.has_written = True
        self.run(statement, values)

    def insert(self, statement: str, values: dict[str, Any]) -> int:
        """Insert a row and return its id."""
        self.has_written = True
        cursor = self.run(statement, values)
        if self._has_lastrowid:
            assert cursor.lastrowid is not None
            return cursor.lastrowid
        return int(cursor.fetchone()[0])

    def has_key_in(self, start: bytes, end: bytes) -> bool:
        """Return whether any current key lies in [start, end)."""
        range_ = {"bucket_id": self.bucket_id, "start": start, "end": end}
        return self.run(self.sql.any_current, range_).fetchone() is not None
