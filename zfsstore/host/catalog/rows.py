"""Between rows and records, and the errors about names that are absent or in use."""

from __future__ import annotations

import json
from typing import Any

from modules.errors import HasDependents, NotFound
from zfsstore.host.catalog.records import Role, Tenant, User, VendorModule


def module_values(module: VendorModule) -> dict[str, str]:
    """Return the columns of a vendor module."""
    return {
        "name": module.name,
        "module": module.module,
        "label": module.label,
        "args": json.dumps(dict(module.args), sort_keys=True),
        "python_path": json.dumps(list(module.python_path)),
        "code_digests": json.dumps(dict(module.code_digests), sort_keys=True),
    }


def parse_module(row: Any) -> VendorModule:
    """Return the vendor module in a row."""
    return VendorModule(
        name=row.name,
        module=row.module,
        label=row.label,
        args=json.loads(row.args),
        python_path=tuple(json.loads(row.python_path)),
        code_digests=json.loads(row.code_digests),
    )


def parse_tenant(row: Any) -> Tenant:
    """Return the tenant in a row."""
    return Tenant(row.name, row.policy, row.quota_bytes)


def parse_user(row: Any) -> User:
    """Return the user in a row."""
    return User(row.name, row.tenant, row.password_hash, Role(row.role))


def refuse_dependents(kind: str, name: str, of_kind: str, dependents: list[str]) -> None:
    """Raise HasDependents when there are any."""
    if not dependents:
        return
    named = ", ".join(dependents[:5]) + (", ..." if len(dependents) > 5 else "")
    raise HasDependents(
        f"{len(dependents)} {of_kind}{'s' if len(dependents) > 1 else ''} use it ({named})"
        if len(dependents) > 1
        else f"{of_kind} {named} uses it",
        operation=f"delete {kind}",
        subject=name,
        hint=f"delete the {of_kind} first, or let it use another",
    )


def unknown(kind: str, name: str, *, field_of: str | None = None) -> NotFound:
    """Return the error for a name that is not in the catalog."""
    return NotFound(
        f"there is no {kind} of this name",
        operation=f"set {field_of}: find {kind}" if field_of else f"find {kind}",
        subject=name,
    )
