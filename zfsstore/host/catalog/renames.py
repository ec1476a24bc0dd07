"""Renaming a tenant in steps that survive a crash: begun, then done with its users, or undone."""

from __future__ import annotations

import json
from typing import Final, TypedDict

from sqlalchemy import delete, select, update
from sqlalchemy.engine import Connection

from modules.errors import AlreadyExists, Conflict, VolumeNotFound
from zfsstore.host.catalog import schema
from zfsstore.host.catalog.connections import Connections, bump, upsert
from zfsstore.host.catalog.rows import unknown

_KEY: Final = "tenant-rename"


class _Pending(TypedDict):
    name: str
    new_name: str
    volume_uuid: str


class TenantRenames(Connections):
    """The part of the catalog that renames tenants; one at a time."""

    def begin_tenant_rename(self, name: str, new_name: str, volume_uuid: str | None) -> str:
        """Remember that a tenant and its volume are being renamed; again, when interrupted.

        Args:
            volume_uuid: of the volume of the present name, None when there is none.

        Returns:
            The uuid of the volume as of when the rename was begun.

        Raises:
            NotFound: there is no such tenant.
            VolumeNotFound: it has no volume.
            AlreadyExists: the new name is taken.
            Conflict: another tenant's rename was interrupted.
        """
        tenants = schema.tenant
        with self._write("rename tenant", name) as connection:
            pending = _pending(connection)
            if pending is not None:
                if (pending["name"], pending["new_name"]) != (name, new_name):
                    raise _unfinished(pending, f"rename tenant to {new_name}", name)
                return pending["volume_uuid"]
            rows = select(tenants.c.name).where(tenants.c.name.in_([name, new_name]))
            present = set(connection.execute(rows).scalars())
            if name not in present:
                raise unknown("tenant", name)
            if new_name in present:
                raise AlreadyExists(
                    f"there is a tenant {new_name!r}", operation="rename tenant", subject=name
                )
            if volume_uuid is None:
                raise VolumeNotFound("it has no volume", operation="rename tenant", subject=name)
            begun = _Pending(name=name, new_name=new_name, volume_uuid=volume_uuid)
            upsert(connection, schema.key_value, "key", {"key": _KEY, "value": json.dumps(begun)})
        return volume_uuid

    def abort_tenant_rename(self, name: str) -> None:
        """Forget a rename whose volume still has its old name."""
        with self._write("rename tenant", name) as connection:
            _forget(connection)

    def finish_tenant_rename(self, name: str) -> None:
        """Give the tenant and all its users the new name; its volume has it."""
        tenants, users = schema.tenant, schema.user
        with self._write("rename tenant", name) as connection:
            pending = _pending(connection)
            if pending is None or pending["name"] != name:
                return  # another process has finished it
            row = connection.execute(select(tenants).where(tenants.c.name == name)).one()
            renamed = {**row._mapping, "name": pending["new_name"]}
            connection.execute(tenants.insert().values(**renamed))
            members = update(users).where(users.c.tenant == name)
            connection.execute(members.values(tenant=pending["new_name"]))
            connection.execute(delete(tenants).where(tenants.c.name == name))
            _forget(connection)
            bump(connection)

    def check_tenant_is_settled(self, name: str) -> None:
        """Raise Conflict while a rename from or to this name is unfinished."""
        with self._read("look for tenant", name) as connection:
            refuse_unfinished(connection, name)


def refuse_unfinished(connection: Connection, name: str) -> None:
    """Raise Conflict when a rename from or to this name is unfinished."""
    pending = _pending(connection)
    if pending is not None and name in (pending["name"], pending["new_name"]):
        raise _unfinished(pending, "change tenant", name)


def _pending(connection: Connection) -> _Pending | None:
    table = schema.key_value
    text = connection.execute(select(table.c.value).where(table.c.key == _KEY)).scalar_one_or_none()
    if text is None:
        return None
    value: _Pending = json.loads(text)
    return value


def _forget(connection: Connection) -> None:
    table = schema.key_value
    connection.execute(delete(table).where(table.c.key == _KEY))


def _unfinished(pending: _Pending, operation: str, subject: str) -> Conflict:
    return Conflict(
        f"renaming tenant {pending['name']} to {pending['new_name']} is unfinished",
        operation=operation,
        subject=subject,
        hint="complete that first, by calling it again",
    )
