from __future__ import annotations

import pytest

from modules.errors import InvalidName
from zfsstore.host.namespace.names import (
    check_bucket,
    check_tenant,
    encode_key,
    encode_prefix,
    parent_of,
    successor,
)


@pytest.mark.parametrize("name", ["a", "Fotos 2026", "ü" * 127, "...", ".hidden", "a.b", "\u202e"])
def test_bucket_names_are_any_text(name: str) -> None:
    assert check_bucket(name) == name


@pytest.mark.parametrize(
    "name",
    ["", "a/b", ".", "..", "cdmi_objectid", "a\0b", "a\nb", "\x7f", "ü" * 128, "\ud800"],
)
def test_bucket_names_that_are_refused(name: str) -> None:
    with pytest.raises(InvalidName) as caught:
        check_bucket(name)
    assert caught.value.field == "bucket"


@pytest.mark.parametrize("name", ["", "a/b", "a\0", "\udfff"])
def test_tenant_names_that_are_refused(name: str) -> None:
    with pytest.raises(InvalidName):
        check_tenant(name)


@pytest.mark.parametrize("key", ["a", "a//b", "/", "..", "a/../b", "\n", "x" * 1024, "é" * 512])
def test_keys_are_any_text(key: str) -> None:
    assert encode_key(key) == key.encode()


@pytest.mark.parametrize("key", ["", "a\0b", "x" * 1025, "é" * 513, "\ud800"])
def test_keys_that_are_refused(key: str) -> None:
    with pytest.raises(InvalidName) as caught:
        encode_key(key)
    assert caught.value.field == "key"


def test_a_prefix_may_be_empty_and_long() -> None:
    assert encode_prefix("") == b""
    assert len(encode_prefix("x" * 5000)) == 5000


@pytest.mark.parametrize(
    ("key", "parent"),
    [(b"a", b""), (b"a/", b""), (b"a/b", b"a/"), (b"a/b/", b"a/"), (b"a/b/c", b"a/b/")],
)
def test_parent_of(key: bytes, parent: bytes) -> None:
    assert parent_of(key) == parent


def test_successor_is_above_everything_with_the_prefix() -> None:
    prefix = "aé".encode()
    assert prefix + b"\xf4\x8f\xbf\xbf" < successor(prefix)
    assert "aê".encode() >= successor(prefix)
    assert "\U0010ffff".encode() < successor(b"")
