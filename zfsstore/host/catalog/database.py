"""The catalog in a SQL database: SQLite for one machine, PostgreSQL for several."""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

from sqlalchemy import Row, Table, delete, select, update
from sqlalchemy.engine import Connection, make_url
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.pool import PoolProxiedConnection

from modules.errors import (
    ConfigurationError,
    Conflict,
    StorageError,
    Unavailable,
)
from zfsstore.host.catalog import schema
from zfsstore.host.catalog.engine import IS_WRITE, make_engine
from zfsstore.host.catalog.records import Role, Tenant, User, VendorModule, inner_names
from zfsstore.host.catalog.rows import (
    module_values,
    parse_module,
    parse_tenant,
    parse_user,
    refuse_dependents,
    unknown,
)

_REVISION: Final = "SELECT value FROM state WHERE name = 'revision'"


class Catalog:
    """Vendor modules, tenants, users and key-values, each change durable when its call returns.

    Every list is sorted by name. Safe for many threads and many processes. Open it after a fork,
    never before.

    Args:
        database_url: as SQLAlchemy takes it, such as ``sqlite:////srv/zfsstore/catalog.db`` or
            ``postgresql+psycopg://host/zfsstore``. Tables are created when they are missing.

    Raises:
        ConfigurationError: the URL is wrong or its driver is not installed.
        Unavailable: the database cannot be reached.
        NotSupported: a newer release wrote it.
    """

    def __init__(self, database_url: str) -> None:
        try:
            url = make_url(database_url)
            self._name = url.render_as_string(hide_password=True)
            self._engine = make_engine(database_url)
            self._revision_lock = threading.Lock()
            self._revision_connection: PoolProxiedConnection | None = None
        except (SQLAlchemyError, ImportError) as error:
            raise ConfigurationError(
                str(error),
                operation="open catalog",
                field="database_url",
                hint="pip install zfsstore[postgres]" if isinstance(error, ImportError) else None,
            ) from error
        try:
            with self._write("open catalog") as connection:
                schema.create(connection, subject=self._name)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close every connection; the catalog must not be used afterwards."""
        with self._revision_lock:
            if self._revision_connection is not None:
                self._revision_connection.close()
                self._revision_connection = None
        self._engine.dispose()

    def revision(self) -> int:
        """Return a number that grows with every change to modules, tenants or users.

        Asked with every request, so SQLite gets a cursor of its own, past the connection pool.
        """
        if self._engine.dialect.name != "sqlite":
            with self._read("read catalog") as connection:
                return int(connection.exec_driver_sql(_REVISION).scalar_one())
        with self._translated("read catalog", None), self._revision_lock:
            if self._revision_connection is None:
                self._revision_connection = self._engine.raw_connection()
            cursor = self._revision_connection.cursor()
            try:
                cursor.execute(_REVISION)
                (value,) = cursor.fetchone() or (0,)
                return int(value)
            except sqlite3.Error as error:
                raise DBAPIError(_REVISION, None, error) from error
            finally:
                cursor.close()

    # --- vendor modules

    def set_module(self, module: VendorModule) -> None:
        """Insert the module, or replace the one of that name."""
        values = module_values(module)
        with self._write("set vendor module", module.name) as connection:
            _upsert(connection, schema.vendor_module, "name", values)
            _bump(connection)

    def set_code_digests(self, name: str, digests: Mapping[str, str]) -> None:
        """Record which code a starting server loaded; no new revision, as nothing changes."""
        table = schema.vendor_module
        with self._write("set code digests", name) as connection:
            connection.execute(
                update(table)
                .where(table.c.name == name)
                .values(code_digests=json.dumps(dict(digests), sort_keys=True))
            )

    def get_module(self, name: str) -> VendorModule:
        """Return a vendor module.

        Raises:
            NotFound: there is none of that name.
        """
        return parse_module(self._row(schema.vendor_module, "vendor module", name))

    def list_modules(self) -> list[VendorModule]:
        """Return every vendor module."""
        with self._read("list vendor modules") as connection:
            return _list_modules(connection)

    def delete_module(self, name: str) -> None:
        """Remove a vendor module.

        Raises:
            NotFound: there is none of that name.
            HasDependents: a tenant's policy or another module's args name it.
        """
        tenants, modules = schema.tenant, schema.vendor_module
        with self._write("delete vendor module", name) as connection:
            users = connection.execute(
                select(tenants.c.name).where(tenants.c.policy == name).order_by(tenants.c.name)
            ).scalars()
            refuse_dependents("vendor module", name, "tenant", list(users))
            wrappers = [
                other.name
                for other in _list_modules(connection)
                if other.name != name and name in inner_names(other.args)
            ]
            refuse_dependents("vendor module", name, "vendor module", wrappers)
            if not connection.execute(delete(modules).where(modules.c.name == name)).rowcount:
                raise unknown("vendor module", name)
            _bump(connection)

    # --- tenants

    def set_tenant(self, tenant: Tenant) -> None:
        """Insert the tenant, or replace the one of that name.

        Raises:
            NotFound: no vendor module has the name of its policy.
        """
        values = {
            "name": tenant.name,
            "policy": tenant.policy,
            "quota_bytes": tenant.quota_bytes,
        }
        modules = schema.vendor_module
        with self._write("set tenant", tenant.name) as connection:
            found = connection.execute(
                select(modules.c.name).where(modules.c.name == tenant.policy)
            ).first()
            if found is None:
                raise unknown("vendor module", tenant.policy, field_of=f"tenant {tenant.name}")
            _upsert(connection, schema.tenant, "name", values)
            _bump(connection)

    def get_tenant(self, name: str) -> Tenant:
        """Return a tenant.

        Raises:
            NotFound: there is none of that name.
        """
        return parse_tenant(self._row(schema.tenant, "tenant", name))

    def list_tenants(self) -> list[Tenant]:
        """Return every tenant."""
        with self._read("list tenants") as connection:
            return [parse_tenant(row) for row in _all_rows(connection, schema.tenant)]

    def delete_tenant(self, name: str) -> None:
        """Remove a tenant.

        Raises:
            NotFound: there is none of that name.
            HasDependents: users belong to it.
        """
        tenants, users = schema.tenant, schema.user
        with self._write("delete tenant", name) as connection:
            members = connection.execute(
                select(users.c.name).where(users.c.tenant == name).order_by(users.c.name)
            ).scalars()
            refuse_dependents("tenant", name, "user", list(members))
            if not connection.execute(delete(tenants).where(tenants.c.name == name)).rowcount:
                raise unknown("tenant", name)
            _bump(connection)

    # --- users

    def set_user(self, user: User) -> None:
        """Insert the user, or replace the one of that name.

        Raises:
            NotFound: no tenant has the name of its tenant.
        """
        values = {
            "name": user.name,
            "tenant": user.tenant,
            "password_hash": user.password_hash,
            "role": user.role.value,
        }
        tenants = schema.tenant
        with self._write("set user", user.name) as connection:
            found = connection.execute(
                select(tenants.c.name).where(tenants.c.name == user.tenant)
            ).first()
            if found is None:
                raise unknown("tenant", user.tenant, field_of=f"user {user.name}")
            _upsert(connection, schema.user, "name", values)
            _bump(connection)

    def get_user(self, name: str) -> User:
        """Return a user.

        Raises:
            NotFound: there is none of that name.
        """
        return parse_user(self._row(schema.user, "user", name))

    def list_users(self) -> list[User]:
        """Return every user."""
        with self._read("list users") as connection:
            return [parse_user(row) for row in _all_rows(connection, schema.user)]

    def delete_user(self, name: str) -> None:
        """Remove a user.

        Raises:
            NotFound: there is none of that name.
            Conflict: it is the last administrator.
        """
        table = schema.user
        with self._write("delete user", name) as connection:
            administrators = connection.execute(
                select(table.c.name).where(table.c.role == Role.ADMINISTRATOR.value)
            ).scalars()
            if list(administrators) == [name]:
                raise Conflict(
                    "it is the last administrator",
                    operation="delete user",
                    subject=name,
                    hint="make another user administrator first",
                )
            if not connection.execute(delete(table).where(table.c.name == name)).rowcount:
                raise unknown("user", name)
            _bump(connection)

    # --- key-values

    def set_key_value(self, key: str, value: str) -> None:
        """Store *value* under *key*, replacing what was there."""
        with self._write("set key-value", key) as connection:
            _upsert(connection, schema.key_value, "key", {"key": key, "value": value})

    def get_key_value(self, key: str) -> str | None:
        """Return the value under *key*, or None."""
        table = schema.key_value
        with self._read("get key-value", key) as connection:
            value = connection.execute(select(table.c.value).where(table.c.key == key))
            return value.scalar_one_or_none()

    def delete_key_value(self, key: str) -> None:
        """Remove *key*; silent when it is absent."""
        table = schema.key_value
        with self._write("delete key-value", key) as connection:
            connection.execute(delete(table).where(table.c.key == key))

    # --- connections

    def _row(self, table: Table, kind: str, name: str) -> Row[Any]:
        with self._read(f"get {kind}", name) as connection:
            row = connection.execute(select(table).where(table.c.name == name)).one_or_none()
        if row is None:
            raise unknown(kind, name)
        return row

    @contextmanager
    def _read(self, operation: str, subject: str | None = None) -> Iterator[Connection]:
        with self._translated(operation, subject), self._engine.connect() as connection:
            yield connection

    @contextmanager
    def _write(self, operation: str, subject: str | None = None) -> Iterator[Connection]:
        with (
            self._translated(operation, subject),
            self._engine.connect().execution_options(**{IS_WRITE: True}) as connection,
            connection.begin(),
        ):
            yield connection

    @contextmanager
    def _translated(self, operation: str, subject: str | None) -> Iterator[None]:
        try:
            yield
        except StorageError:
            raise
        except SQLAlchemyError as error:
            reason = str(error.orig) if isinstance(error, DBAPIError) else str(error)
            raise Unavailable(
                f"the catalog database {self._name} failed: {reason}",
                operation=operation,
                subject=subject,
                hint="check the database and the disk it is on",
            ) from error


def _bump(connection: Connection) -> None:
    table = schema.state
    connection.execute(
        update(table).where(table.c.name == "revision").values(value=table.c.value + 1)
    )


def _upsert(connection: Connection, table: Table, key: str, values: Mapping[str, Any]) -> None:
    """Update the row, or insert it; the write transaction keeps other writers out."""
    condition = table.c[key] == values[key]
    if not connection.execute(update(table).where(condition).values(**values)).rowcount:
        connection.execute(table.insert().values(**values))


def _list_modules(connection: Connection) -> list[VendorModule]:
    return [parse_module(row) for row in _all_rows(connection, schema.vendor_module)]


def _all_rows(connection: Connection, table: Table) -> Sequence[Row[Any]]:
    return connection.execute(select(table).order_by(table.c.name)).all()
