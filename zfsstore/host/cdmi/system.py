"""/cdmi/system_configuration/: vendor modules, tenants and users, for administrators."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import falcon

from modules.errors import NotFound
from zfsstore.host.admin import Administration
from zfsstore.host.catalog import Tenant, User
from zfsstore.host.exchange import Exchange
from zfsstore.host.http import read_json
from zfsstore.host.specs import TenantSpec, UserSpec

SYSTEM_CONFIGURATION: Final = "system_configuration"

_Lister = Callable[[], list[Any]]


class SystemConfiguration:
    """Translates to Administration."""

    def __init__(self, administration: Administration) -> None:
        self._admin = administration

    def handle(self, exchange: Exchange, names: Sequence[str]) -> None:
        """Answer a request for what lies below system_configuration."""
        exchange.identity.require_administrator()
        admin = self._admin
        collections: Mapping[str, _Lister] = {
            "vendor_modules": admin.list_modules,
            "tenants": lambda: [_tenant(tenant) for tenant in admin.list_tenants()],
            "users": lambda: [_user(user) for user in admin.list_users()],
        }
        if not names:
            exchange.dispatch(
                {"GET": lambda: exchange.answer_json({"children": [f"{c}/" for c in collections]})}
            )
            return
        if names[0] not in collections or len(names) > 2:
            raise NotFound(
                "there is no such resource",
                operation="find",
                subject="/".join(names),
                hint=f"there are {', '.join(collections)}",
            )
        if len(names) == 1:
            lister = collections[names[0]]
            exchange.dispatch({"GET": lambda: exchange.answer_json({names[0]: lister()})})
            return
        handlers = {
            "vendor_modules": self._handle_module,
            "tenants": self._handle_tenant,
            "users": self._handle_user,
        }
        handlers[names[0]](exchange, names[1])

    def _handle_module(self, exchange: Exchange, name: str) -> None:
        def put() -> None:
            self._admin.put_module(name, read_json(exchange.upload))
            exchange.answer_done()

        def delete() -> None:
            self._admin.delete_module(name)
            exchange.answer_done()

        exchange.dispatch(
            {
                "GET": lambda: exchange.answer_json(self._admin.get_module(name)),
                "PUT": put,
                "DELETE": delete,
            }
        )

    def _handle_tenant(self, exchange: Exchange, name: str) -> None:
        def put() -> None:
            spec = TenantSpec.from_dict(read_json(exchange.upload))
            self._admin.put_tenant(
                name,
                policy=spec.policy,
                quota_bytes=spec.quota_bytes,
                properties=spec.properties,
            )
            exchange.answer_done()

        def delete() -> None:
            self._admin.delete_tenant(name)
            exchange.answer_done()

        exchange.dispatch(
            {
                "GET": lambda: exchange.answer_json(_tenant(self._admin.get_tenant(name))),
                "PUT": put,
                "DELETE": delete,
            }
        )

    def _handle_user(self, exchange: Exchange, name: str) -> None:
        def put() -> None:
            spec = UserSpec.from_dict(read_json(exchange.upload))
            user, generated = self._admin.put_user(
                name,
                tenant=spec.tenant,
                policy=spec.policy,
                role=spec.role,
                password=spec.password,
            )
            if generated is None:
                exchange.answer_done()
                return
            exchange.response.set_header("Cache-Control", "no-store")
            exchange.answer_json({**_user(user), "password": generated}, status=falcon.HTTP_201)

        def delete() -> None:
            self._admin.delete_user(name)
            exchange.answer_done()

        exchange.dispatch(
            {
                "GET": lambda: exchange.answer_json(_user(self._admin.get_user(name))),
                "PUT": put,
                "DELETE": delete,
            }
        )


def _tenant(tenant: Tenant) -> dict[str, Any]:
    return {"name": tenant.name, "policy": tenant.policy, "quota_bytes": tenant.quota_bytes}


def _user(user: User) -> dict[str, Any]:
    return {"name": user.name, "tenant": user.tenant, "role": user.role.value}
