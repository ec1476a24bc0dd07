"""Administration of tenants and users."""

from __future__ import annotations

from dataclasses import dataclass, replace

from modules.errors import (
    AlreadyExists,
    Conflict,
    InvalidArgument,
    NotFound,
)
from zfsstore.host.auth import generate_password, hash_password
from zfsstore.host.catalog import Role, Tenant, User
from zfsstore.host.specs import check_name, check_password, check_role
from zfsstore.host.tenants import TenantAdministration


@dataclass(frozen=True)
class AccountAdministration(TenantAdministration):
    """The operations on tenants and users."""

    def create_user(
        self,
        name: str,
        *,
        tenant: str | None = None,
        policy: str | None = None,
        role: str = Role.USER,
        password: str | None = None,
    ) -> tuple[User, str | None]:
        """Create a user, and the tenant when there is none of its name.

        Args:
            tenant: the user's own name when None.
            policy: of a new tenant; must not differ for one that exists.
            password: generated when None.

        Returns:
            The user and the generated password, None when one was given.

        Raises:
            AlreadyExists: there is a user of this name.
            Conflict: the tenant has another policy.
            InvalidArgument: an argument is wrong.
        """
        check_name(name, "user")
        if self._find_user(name) is not None:
            raise AlreadyExists("there is one already", operation="create user", subject=name)
        chosen = check_password(password) if password is not None else generate_password()
        checked_role = check_role(role)
        owner = self._tenant_of(name, tenant, policy)
        user = User(name, owner.name, hash_password(chosen), checked_role)
        self.catalog.set_user(user)
        return user, chosen if password is None else None

    def put_user(
        self,
        name: str,
        *,
        tenant: str | None = None,
        policy: str | None = None,
        role: str | None = None,
        password: str | None = None,
    ) -> tuple[User, str | None]:
        """Create a user, or change what is not None of the one of this name.

        Returns, raises:
            As ``create_user``; the password of a user that exists is never generated anew.
        """
        present = self._find_user(check_name(name, "user"))
        if present is None:
            return self.create_user(
                name, tenant=tenant, policy=policy, role=role or Role.USER, password=password
            )
        hashed = (
            present.password_hash if password is None else hash_password(check_password(password))
        )
        new_role = present.role if role is None else check_role(role)
        self._refuse_demotion(present, new_role)
        owner = self._tenant_of(name, tenant or present.tenant, policy)
        user = User(name, owner.name, hashed, new_role)
        if user != present:
            self.catalog.set_user(user)
        return user, None

    def set_password(self, name: str, *, password: str | None = None) -> tuple[User, str | None]:
        """Give a user a new password, a generated one for None; the old one stops working.

        Raises:
            NotFound: there is no user of this name.
        """
        chosen = check_password(password) if password is not None else generate_password()
        user = replace(self.catalog.get_user(name), password_hash=hash_password(chosen))
        self.catalog.set_user(user)
        return user, chosen if password is None else None

    def get_user(self, name: str) -> User:
        """Return a user.

        Raises:
            NotFound: there is none of this name.
        """
        return self.catalog.get_user(name)

    def list_users(self) -> list[User]:
        """Return all users by name."""
        return self.catalog.list_users()

    def delete_user(self, name: str) -> None:
        """Remove a user, who can no longer log in; tenant and data stay.

        Raises:
            NotFound: there is none of this name.
            Conflict: it is the last administrator.
        """
        self.catalog.delete_user(name)

    def _find_user(self, name: str) -> User | None:
        try:
            return self.catalog.get_user(name)
        except NotFound:
            return None

    def _refuse_demotion(self, user: User, role: Role) -> None:
        if user.role is not Role.ADMINISTRATOR or role is Role.ADMINISTRATOR:
            return
        others = [u for u in self.catalog.list_users() if u.role is Role.ADMINISTRATOR]
        if len(others) == 1:
            raise Conflict(
                "it is the last administrator",
                operation="change role of user",
                subject=user.name,
                hint="make another user administrator first",
            )

    def _tenant_of(self, user: str, tenant: str | None, policy: str | None) -> Tenant:
        """Return the tenant a user belongs to, created when it is new."""
        name = check_name(tenant or user, "tenant")
        present = self._find_tenant(name)
        if present is None:
            if policy is None:
                raise InvalidArgument(
                    f"tenant {name!r} is new and needs a policy",
                    field="policy",
                    hint="name a vendor module, such as default",
                )
            return self.create_tenant(name, policy=policy)
        if policy is not None and policy != present.policy:
            raise Conflict(
                f"its tenant {name!r} has the policy {present.policy!r}",
                operation="set policy of user",
                subject=user,
                hint="leave the policy out, change the tenant's, or choose another tenant",
            )
        return present
