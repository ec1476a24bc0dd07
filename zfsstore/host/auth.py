"""Passwords: hashing, and HTTP Basic authentication against the catalog."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from modules.errors import Busy, NotFound
from zfsstore.host.catalog import Catalog, Role, Tenant, User
from zfsstore.host.errors import AccessDenied, Unauthenticated

CACHE_S: Final = 60.0
CACHE_ENTRIES: Final = 10_000
WAIT_S: Final = 10.0
MAX_PASSWORD_BYTES: Final = 1024

# The minimum of the OWASP password storage cheat sheet: 19 MiB, two passes, one lane.
_hasher: Final = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)


def hash_password(password: str) -> str:
    """Return what the catalog keeps of a password."""
    return _hasher.hash(password)


def generate_password() -> str:
    """Return a new random password of 160 bits, without characters a shell would change."""
    return secrets.token_urlsafe(20).replace("-", "A").replace("_", "B")


@dataclass(frozen=True, slots=True)
class Identity:
    """Who makes a request, and whose data it is about."""

    user: str
    role: Role
    tenant: Tenant

    @property
    def is_administrator(self) -> bool:
        """Whether the user may administer."""
        return self.role is Role.ADMINISTRATOR

    def require_administrator(self) -> None:
        """Raise AccessDenied unless this is an administrator."""
        if not self.is_administrator:
            raise AccessDenied(
                "only an administrator may",
                operation="administer",
                subject=self.user,
                permission="administrator",
            )


class Authenticator:
    """Tells who sent a request, from its Authorization header.

    A verified password is remembered for up to 60 seconds, as an HMAC under a key that exists in
    this process only and that covers the stored hash: a changed password, a deleted user or a
    moved tenant counts with the next request in every process. An unknown user costs the same as
    a wrong password. Safe for many threads; open it after a fork.

    Args:
        max_concurrent: how many argon2 computations may run at once.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        catalog: Catalog,
        *,
        max_concurrent: int = 2,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._catalog = catalog
        self._clock = clock
        self._slots = threading.BoundedSemaphore(max_concurrent)
        self._key = secrets.token_bytes(32)
        self._absent_hash = hash_password(secrets.token_urlsafe(20))
        self._lock = threading.Lock()
        self._verified: OrderedDict[bytes, float] = OrderedDict()
        self._identities: dict[str, tuple[User, Tenant] | None] = {}
        self._revision = -1

    def authenticate(self, authorization: str | None, *, revision: int | None = None) -> Identity:
        """Return who sent this Authorization header.

        Args:
            revision: of the catalog, when the caller has just read it.

        Raises:
            Unauthenticated: no header, not Basic, unknown user or wrong password.
            Busy: too many password checks are waiting.
        """
        if not authorization:
            raise Unauthenticated("no user name and password were sent", hint="use HTTP Basic")
        name, password = _parse_basic(authorization)
        account = self._account(name, self._catalog.revision() if revision is None else revision)
        stored = account[0].password_hash if account else self._absent_hash
        is_right = self._is_verified(name, password, stored)
        if account is None or not is_right:
            raise Unauthenticated("the user name or the password is wrong")
        user, tenant = account
        return Identity(user.name, user.role, tenant)

    def _account(self, name: str, revision: int) -> tuple[User, Tenant] | None:
        """Return user and tenant as of this revision of the catalog, or a later one."""
        with self._lock:
            if revision != self._revision:
                self._identities = {}
                self._revision = revision
            if name in self._identities:
                return self._identities[name]
        account: tuple[User, Tenant] | None = None
        try:
            user = self._catalog.get_user(name)
            account = user, self._catalog.get_tenant(user.tenant)
        except NotFound:
            return None  # not remembered: anybody could fill the memory with names
        with self._lock:
            if revision == self._revision:
                if len(self._identities) >= CACHE_ENTRIES:
                    self._identities.clear()
                self._identities[name] = account
        return account

    def _is_verified(self, name: str, password: str, stored: str) -> bool:
        token = hmac.digest(self._key, "\0".join((name, stored, password)).encode(), hashlib.sha256)
        if self._is_remembered(token):
            return True
        if not self._slots.acquire(timeout=WAIT_S):
            raise Busy("too many log-ins are being checked", hint="try again in a few seconds")
        try:
            # Many connections of one client start at once: the first one did the work.
            if self._is_remembered(token):
                return True
            _hasher.verify(stored, password)
        except (VerificationError, InvalidHashError):
            return False
        finally:
            self._slots.release()
        self._remember(token)
        return True

    def _is_remembered(self, token: bytes) -> bool:
        now = self._clock()
        with self._lock:
            return self._verified.get(token, now) > now

    def _remember(self, token: bytes) -> None:
        with self._lock:
            self._verified[token] = self._clock() + CACHE_S
            self._verified.move_to_end(token)
            while len(self._verified) > CACHE_ENTRIES:
                self._verified.popitem(last=False)


def _parse_basic(authorization: str) -> tuple[str, str]:
    scheme, _, encoded = authorization.strip().partition(" ")
    if scheme.lower() != "basic":
        raise Unauthenticated(f"the scheme {scheme[:40]!r} is not offered", hint="use HTTP Basic")
    try:
        text = base64.b64decode(encoded.strip(), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        raise Unauthenticated("the credentials are no Base64 of UTF-8 text") from None
    name, separator, password = text.partition(":")
    if not separator or len(password.encode()) > MAX_PASSWORD_BYTES:
        raise Unauthenticated("the credentials are no name:password")
    return name, password
