"""An open database."""

from __future__ import annotations

from zfsstore.host.namespace.database import Database, Readers
from zfsstore.host.namespace.statements import Statements
from zfsstore.host.namespace.writer import MAX_BATCH, Writer


class Store:
    """An open database: one writer, a few readers. Shared by the indexes of its buckets."""

    def __init__(self, database: Database, *, readers: int = 4, max_batch: int = MAX_BATCH) -> None:
        database.prepare()
        self.database = database
        self.writer = Writer(database, max_batch=max_batch)
        self.readers = Readers(database, limit=readers)

    @property
    def sql(self) -> Statements:
        return self.database.statements

    def close(self) -> None:
        """Finish queued writes and close every connection; nobody may be using it."""
        self.writer.close()
        self.readers.close()
        self.database.close()
