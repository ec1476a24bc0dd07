"""HTTP Basic against the catalog."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path

import pytest

from zfsstore.host.auth import CACHE_S, Authenticator, hash_password
from zfsstore.host.catalog import Catalog, Role, Tenant, User, VendorModule
from zfsstore.host.errors import AccessDenied, Unauthenticated


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    opened = Catalog(f"sqlite:///{tmp_path}/catalog.db")
    opened.set_module(VendorModule("default", "simple.simple.SimpleStorage", "", {}))
    opened.set_tenant(Tenant("acme", "default"))
    opened.set_user(User("bob", "acme", hash_password("the password")))
    yield opened
    opened.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def authenticator(catalog: Catalog, clock: Clock) -> Authenticator:
    return Authenticator(catalog, clock=clock)


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


BOB = basic("bob", "the password")


def test_the_right_password(authenticator: Authenticator) -> None:
    identity = authenticator.authenticate(BOB)
    assert (identity.user, identity.tenant) == ("bob", Tenant("acme", "default"))
    with pytest.raises(AccessDenied):
        identity.require_administrator()


def test_a_password_with_a_colon_and_unicode(
    catalog: Catalog, authenticator: Authenticator
) -> None:
    catalog.set_user(User("eve", "acme", hash_password("a:b:ü"), Role.ADMINISTRATOR))
    authenticator.authenticate(basic("eve", "a:b:ü")).require_administrator()


@pytest.mark.parametrize(
    "header",
    [
        None, "", "Basic", "Basic !!!", "Bearer x", "Basic " + base64.b64encode(b"\xff:x").decode(),
        "Basic " + base64.b64encode(b"no colon").decode(), basic("bob", "wrong"), basic("bob", ""),
        basic("nobody", "the password"), basic("", ""), basic("bob", "x" * 5000),
        basic("b\0b", "x"),
    ],
)  # fmt: skip
def test_everything_else_is_refused(authenticator: Authenticator, header: str | None) -> None:
    with pytest.raises(Unauthenticated):
        authenticator.authenticate(header)


def test_a_changed_password_counts_at_once(catalog: Catalog, authenticator: Authenticator) -> None:
    authenticator.authenticate(BOB)
    catalog.set_user(User("bob", "acme", hash_password("a new password")))
    with pytest.raises(Unauthenticated):
        authenticator.authenticate(BOB)
    authenticator.authenticate(basic("bob", "a new password"))


def test_a_deleted_user_is_out_at_once(catalog: Catalog, authenticator: Authenticator) -> None:
    authenticator.authenticate(BOB)
    catalog.delete_user("bob")
    with pytest.raises(Unauthenticated):
        authenticator.authenticate(BOB)


def test_passwords_are_remembered_for_a_minute_and_never_in_the_clear(
    authenticator: Authenticator, clock: Clock
) -> None:
    authenticator.authenticate(BOB)
    kept = dict(authenticator._verified)
    assert all(b"the password" not in token for token in kept)
    clock.now += CACHE_S - 1
    authenticator.authenticate(BOB)
    assert dict(authenticator._verified) == kept
    clock.now += 2
    authenticator.authenticate(BOB)
    assert dict(authenticator._verified) != kept


def test_an_unknown_user_costs_an_argon2_computation(authenticator: Authenticator) -> None:
    """Or else response times would tell which users exist."""
    from zfsstore.host.auth import _hasher

    real, calls = type(_hasher).verify, []

    def counting(self: object, *args: object) -> bool:
        calls.append(args[0])
        return real(self, *args)  # type: ignore[arg-type]

    type(_hasher).verify = counting  # type: ignore[method-assign,assignment]
    try:
        for header in (basic("nobody", "x"), basic("bob", "x")):
            with pytest.raises(Unauthenticated):
                authenticator.authenticate(header)
    finally:
        type(_hasher).verify = real  # type: ignore[method-assign]
    assert len(calls) == 2
