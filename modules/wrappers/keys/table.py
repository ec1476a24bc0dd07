"""The key table: tenant keys wrapped by a root key, shared by all processes, and never in a volume.

One SQLite file (mode 0600), or a PostgreSQL database when several hosts share the objects. Rows
of destroyed keys stay as tombstones.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError as DuplicateRow
from sqlalchemy.exc import OperationalError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from modules.durable import TEMPORARY_PREFIX, fsync_directory
from modules.errors import (
    AlreadyExists,
    ConfigurationError,
    IntegrityError,
    NotSupported,
    SubstrateError,
    Unavailable,
    translated_oserror,
)
from modules.wrappers.keys.records import KeyRecord, KeyState

SCHEMA: Final = 1
_BUSY_TIMEOUT_S: Final = 30
_CREATING: Final = 0x7A66_6B65_7973  # the number of an advisory lock, "zfkeys"

_metadata = sa.MetaData()
_about = sa.Table("about", _metadata, sa.Column("schema", sa.Integer, nullable=False))
_keys = sa.Table(
    "tenant_key",
    _metadata,
    sa.Column("id", sa.LargeBinary(16), primary_key=True),
    sa.Column("key_domain", sa.Text, nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("root", sa.Text, nullable=False),
    sa.Column("wrapped", sa.LargeBinary, nullable=False),
    sa.Column("created_at", sa.Text, nullable=False),
    sa.Column("destroyed_at", sa.Text),
    sa.UniqueConstraint("key_domain", "version"),
)
_is_active = _keys.c.state == KeyState.ACTIVE.value
sa.Index(
    "one_active_key",
    _keys.c.key_domain,
    unique=True,
    sqlite_where=_is_active,
    postgresql_where=_is_active,
)


class KeyTable:
    """The rows. Every call opens the database, and closes it again: calls are rare.

    Safe for many threads and processes, and across a fork.

    Args:
        place: an absolute path, or a PostgreSQL address as SQLAlchemy writes it.
    """

    def __init__(self, place: str) -> None:
        self._is_file = os.path.isabs(place)
        if not self._is_file and not place.startswith("postgresql"):
            raise ConfigurationError(
                "must be an absolute path or a postgresql address", field="keys.table"
            )
        self._path = place if self._is_file else None
        url = sa.URL.create("sqlite", database=place) if self._is_file else place
        try:
            self._engine = sa.create_engine(url, poolclass=NullPool)
        except (SQLAlchemyError, ImportError) as error:
            raise ConfigurationError(
                f"cannot use this address: {type(error).__name__}", field="keys.table"
            ) from error
        if self._is_file:
            sa.event.listen(self._engine, "connect", _prepare_sqlite)
            sa.event.listen(self._engine, "begin", _begin_sqlite)
        self._reading = self._engine.execution_options(zfsstore_reads=True)

    def create(self) -> None:
        """Make the table, durably: it is there with all that belongs to it, or not at all.

        Raises:
            AlreadyExists: it is there; nothing was changed.
        """
        if self._path is None:
            self._create_schema()
            return
        if os.path.lexists(self._path):
            raise self._exists()
        aside = f"{self._path}{TEMPORARY_PREFIX}{secrets.token_hex(8)}"
        with translated_oserror(operation="create key table", subject=self._path):
            try:
                flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC
                os.close(os.open(aside, flags, 0o600))
                KeyTable(aside)._create_schema()
                os.link(aside, self._path)
            except FileExistsError as error:  # another process was faster
                raise self._exists() from error
            finally:
                with suppress(FileNotFoundError):
                    os.unlink(aside)
            fsync_directory(os.path.dirname(self._path))

    def _create_schema(self) -> None:
        with self._begin("create key table") as connection:
            if self._path is None:  # one at a time: PostgreSQL fails on names made by two
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_CREATING)))
            if sa.inspect(connection).has_table(_about.name):
                raise self._exists()
            _metadata.create_all(connection)
            connection.execute(_about.insert().values(schema=SCHEMA))

    def exists(self) -> bool:
        """Tell whether there is a table, whatever its schema."""
        if self._path is not None:
            return os.path.exists(self._path)
        with self._begin("look for key table") as connection:
            return bool(sa.inspect(connection).has_table(_about.name))

    def check(self) -> None:
        """Prove that the table is there and of a schema that this version knows.

        Raises:
            ConfigurationError: there is none.
            NotSupported: a newer version made it.
        """
        with self._read("open key table") as connection:
            found = connection.execute(sa.select(_about.c.schema)).scalar_one_or_none()
        if found != SCHEMA:
            raise NotSupported(
                f"its schema is {found}, and this version knows {SCHEMA}",
                capability="key table schema",
                operation="open key table",
                hint="install a newer version",
            )

    def find(self, key_id: bytes) -> KeyRecord | None:
        """Return the key of this id, or None."""
        with self._read("read key table") as connection:
            row = connection.execute(sa.select(_keys).where(_keys.c.id == key_id)).first()
        return None if row is None else _record(row)

    def of_domain(self, key_domain: str) -> list[KeyRecord]:
        """Return a domain's keys, the newest version first."""
        query = (
            sa.select(_keys)
            .where(_keys.c.key_domain == key_domain)
            .order_by(_keys.c.version.desc())
        )
        with self._read("read key table") as connection:
            return [_record(row) for row in connection.execute(query)]

    def list_keys(self) -> list[KeyRecord]:
        """Return all keys, by domain and version."""
        query = sa.select(_keys).order_by(_keys.c.key_domain, _keys.c.version)
        with self._read("read key table") as connection:
            return [_record(row) for row in connection.execute(query)]

    def add(self, record: KeyRecord) -> bool:
        """Make *record* its domain's active key, and the present one decrypt-only; durable.

        Returns:
            False when another process was faster: its domain's keys are others by now.
        """
        try:
            with self._begin("add tenant key") as connection:
                connection.execute(
                    _keys.update()
                    .where(_keys.c.key_domain == record.key_domain, _is_active)
                    .where(_keys.c.version < record.version)
                    .values(state=KeyState.DECRYPT_ONLY.value)
                )
                connection.execute(_keys.insert().values(**_row(record)))
        except DuplicateRow:
            return False
        return True

    def rewrap(self, record: KeyRecord, root: str, wrapped: bytes) -> bool:
        """Store a key wrapped by another root key; False when the row is another by now."""
        with self._begin("rewrap tenant key") as connection:
            changed = connection.execute(
                _keys.update()
                .where(_keys.c.id == record.id, _keys.c.root == record.root)
                .where(_keys.c.state != KeyState.DESTROYED.value)
                .values(root=root, wrapped=wrapped)
            )
        return changed.rowcount == 1

    def destroy(self, key_ids: list[bytes], now: datetime) -> int:
        """Erase keys and leave tombstones, durably, all of them or none; return how many."""
        with self._begin("destroy tenant keys") as connection:
            changed = connection.execute(
                _keys.update()
                .where(_keys.c.id.in_(key_ids), _keys.c.state != KeyState.DESTROYED.value)
                .values(
                    state=KeyState.DESTROYED.value,
                    root="",
                    wrapped=b"",
                    destroyed_at=now.astimezone(UTC).isoformat(),
                )
            )
        return changed.rowcount

    @contextmanager
    def _read(self, operation: str) -> Iterator[sa.Connection]:
        if self._path is not None and not os.path.isfile(self._path):
            raise self._absent(operation)
        with self._begin(operation, self._reading) as connection:
            yield connection

    @contextmanager
    def _begin(self, operation: str, engine: sa.Engine | None = None) -> Iterator[sa.Connection]:
        try:
            with (engine or self._engine).begin() as connection:
                yield connection
        except DuplicateRow:
            raise
        except OperationalError as error:
            raise Unavailable(
                f"the database cannot be used: {error.orig}",
                operation=operation,
                subject=self._path,
                hint="is it there, writable, and is there space?",
            ) from error
        except SQLAlchemyError as error:
            if "no such table" in str(error) or "UndefinedTable" in str(error):
                raise self._absent(operation) from error
            raise SubstrateError(
                f"the database failed: {type(error).__name__}", operation=operation
            ) from error

    def _absent(self, operation: str) -> ConfigurationError:
        return ConfigurationError(
            "there is none",
            operation=operation,
            subject=self._path,
            hint="create it with `zfsstore keys init`; if there was one, restore it",
            field="keys.table",
        )

    def _exists(self) -> AlreadyExists:
        return AlreadyExists("there is one", operation="create key table", subject=self._path)


def _row(record: KeyRecord) -> dict[str, Any]:
    return {
        "id": record.id,
        "key_domain": record.key_domain,
        "version": record.version,
        "state": record.state.value,
        "root": record.root,
        "wrapped": record.wrapped,
        "created_at": record.created_at.astimezone(UTC).isoformat(),
    }


def _record(row: sa.Row[Any]) -> KeyRecord:
    try:
        return KeyRecord(
            id=bytes(row.id),
            key_domain=row.key_domain,
            version=row.version,
            state=KeyState(row.state),
            root=row.root,
            wrapped=bytes(row.wrapped),
            created_at=datetime.fromisoformat(row.created_at),
            destroyed_at=row.destroyed_at and datetime.fromisoformat(row.destroyed_at),
        )
    except (TypeError, ValueError) as error:
        raise IntegrityError(
            "a row is damaged", operation="read key table", hint="restore it from a backup"
        ) from error


def _prepare_sqlite(connection: Any, _: object) -> None:
    """Erase what is deleted, and keep no log that would hold it."""
    connection.isolation_level = None  # SQLAlchemy begins, see below
    connection.execute(f"PRAGMA busy_timeout = {_BUSY_TIMEOUT_S * 1000}")
    connection.execute("PRAGMA journal_mode = DELETE")
    connection.execute("PRAGMA synchronous = EXTRA")
    connection.execute("PRAGMA secure_delete = ON")


def _begin_sqlite(connection: sa.Connection) -> None:
    """Take the write lock at once, to write: who reads first might not get it later."""
    reads = connection.get_execution_options().get("zfsstore_reads", False)
    connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")
