"""The catalog in a SQL database: SQLite for one machine, PostgreSQL for several."""

from __future__ import annotations

import json
from collections.abc import Mapping

from sqlalchemy import delete, select, update
from sqlalchemy.engine import Connection

from modules.errors import Conflict
from zfsstore.host.catalog import schema
from zfsstore.host.catalog.connections import all_rows, bump, upsert
from zfsstore.host.catalog.records import Role, Tenant, User, VendorModule, inner_names
from zfsstore.host.catalog.renames import TenantRenames, refuse_unfinished
from zfsstore.host.catalog.rows import (
    module_values,
    parse_module,
    parse_tenant,
    parse_user,
    refuse_dependents,
    unknown,
)


class Catalog(TenantRenames):
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

    # --- vendor modules

    def set_module(self, module: VendorModule) -> None:
        """Insert the module, or replace the one of that name."""
        values = module_values(module)
        with self._write("set vendor module", module.name) as connection:
            upsert(connection, schema.vendor_module, "name", values)
            bump(connection)

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
            bump(connection)

    # --- tenants

    def set_tenant(self, tenant: Tenant) -> None:
        """Insert the tenant, or replace the one of that name.

        Raises:
            NotFound: no vendor module has the name of its policy.
            Conflict: its rename is unfinished.
        """
        values = {
            "name": tenant.name,
            "policy": tenant.policy,
            "quota_bytes": tenant.quota_bytes,
        }
        modules = schema.vendor_module
        with self._write("set tenant", tenant.name) as connection:
            refuse_unfinished(connection, tenant.name)
            found = connection.execute(
                select(modules.c.name).where(modules.c.name == tenant.policy)
            ).first()
            if found is None:
                raise unknown("vendor module", tenant.policy, field_of=f"tenant {tenant.name}")
            upsert(connection, schema.tenant, "name", values)
            bump(connection)

    def get_tenant(self, name: str) -> Tenant:
        """Return a tenant.

        Raises:
            NotFound: there is none of that name.
        """
        return parse_tenant(self._row(schema.tenant, "tenant", name))

    def list_tenants(self) -> list[Tenant]:
        """Return every tenant."""
        with self._read("list tenants") as connection:
            return [parse_tenant(row) for row in all_rows(connection, schema.tenant)]

    def delete_tenant(self, name: str) -> None:
        """Remove a tenant.

        Raises:
            NotFound: there is none of that name.
            HasDependents: users belong to it.
        """
        tenants, users = schema.tenant, schema.user
        with self._write("delete tenant", name) as connection:
            refuse_unfinished(connection, name)
            members = connection.execute(
                select(users.c.name).where(users.c.tenant == name).order_by(users.c.name)
            ).scalars()
            refuse_dependents("tenant", name, "user", list(members))
            if not connection.execute(delete(tenants).where(tenants.c.name == name)).rowcount:
                raise unknown("tenant", name)
            bump(connection)

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
            upsert(connection, schema.user, "name", values)
            bump(connection)

    def get_user(self, name: str) -> User:
        """Return a user.

        Raises:
            NotFound: there is none of that name.
        """
        return parse_user(self._row(schema.user, "user", name))

    def list_users(self) -> list[User]:
        """Return every user."""
        with self._read("list users") as connection:
            return [parse_user(row) for row in all_rows(connection, schema.user)]

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
            bump(connection)

    # --- key-values

    def set_key_value(self, key: str, value: str) -> None:
        """Store *value* under *key*, replacing what was there."""
        with self._write("set key-value", key) as connection:
            upsert(connection, schema.key_value, "key", {"key": key, "value": value})

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


def _list_modules(connection: Connection) -> list[VendorModule]:
    return [parse_module(row) for row in all_rows(connection, schema.vendor_module)]
