"""Names in the published view: no two keys share one, none leads out, most tell their key."""

from __future__ import annotations

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from zfsstore.published_names import (
    LONG,
    MAX_DEPTH,
    MAX_NAME_BYTES,
    beside_directory,
    container_path,
    moved_name,
    object_path,
    parse_path,
)

# What escapes are made of, so that they meet; a letter of four bytes; what file systems fear.
ALPHABET = "%0025EeFfaA./.\x01\x7fé\U0001f600"
COMPONENTS = st.one_of(
    st.text(alphabet=ALPHABET, max_size=8),
    st.sampled_from([".", "..", ".zfsstore", "%00object", "%00empty", "%2E", "a%00object"]),
    st.integers(240, 262).map(lambda size: "x" * size),
)
KEYS = (
    st.lists(COMPONENTS, min_size=1, max_size=5)
    .map("/".join)
    .filter(lambda key: 0 < len(key.encode()) <= 1024)
)
ANY_KEYS = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=200
)


def every_name(key: str) -> list[tuple[str, ...]]:
    path = object_path(key)
    return [path] if path[0] == LONG else [path, (*path[:-1], beside_directory(key))]


def is_hashed(path: tuple[str, ...]) -> bool:
    return any("%00" in name and not name.endswith(("%00object", "%00empty")) for name in path)


@given(KEYS | ANY_KEYS)
@example("/")
@example("a" * 255)
@example("é" * 127 + "a")
@example("/" * 1024)
@example("\x01" * 1024)
def test_contained(key: str) -> None:
    for path in every_name(key):
        assert all(name not in ("", ".", "..", ".zfsstore") for name in path)
        assert all("/" not in name and "\0" not in name for name in path)
        assert all(len(name.encode()) <= MAX_NAME_BYTES for name in path)
        assert not any(ord(character) < 32 for name in path for character in name)
        assert len(path) <= MAX_DEPTH
        assert len("/".join(path).encode()) < 4096 - 512


@given(KEYS | ANY_KEYS, KEYS | ANY_KEYS)
@example("a%00object", "a")
@example("%2E", ".")
@example("%41", "%2541")
@example("x" * 256 + "a", "x" * 256 + "b")
def test_injective(one: str, other: str) -> None:
    assume(one != other)
    assert not set(every_name(one)) & set(every_name(other))


@given(KEYS | ANY_KEYS)
@example("%%41%4")
def test_reversible(key: str) -> None:
    for path in every_name(key):
        if path[0] == LONG or any(len(name.encode()) > 230 for name in path):
            assert parse_path(path) in (key, None)
        else:
            assert parse_path(path) == key


@given(KEYS)
def test_a_file_is_moved_to_where_it_is_looked_for(key: str) -> None:
    path = object_path(key)
    if path[0] != LONG and not is_hashed(path):
        assert moved_name(path[-1]) == beside_directory(key)
    for name in path:
        assert len(moved_name(name).encode()) <= MAX_NAME_BYTES or path[0] == LONG


@given(st.lists(st.text(alphabet=ALPHABET.replace("/", ""), max_size=8), max_size=3))
def test_what_is_not_ours_tells_no_key(names: list[str]) -> None:
    key = parse_path(names)
    assert key is None or tuple(names) in every_name(key)


@pytest.mark.parametrize(
    ("key", "path"),
    [
        ("photos/2024/a b.jpg", "photos/2024/a b.jpg"),
        ("100% sure.txt", "100% sure.txt"),
        ("50%25", "50%2525"),
        ("a//b/", "a/%00empty/b/%00empty"),
        ("../.././.zfsstore/x", "%2E./%2E./%2E/%2Ezfsstore/x"),
        ("line\nfeed", "line%0Afeed"),
        ("Ünïcødé/日本", "Ünïcødé/日本"),
        ("CON", "CON"),
    ],
)
def test_examples(key: str, path: str) -> None:
    assert path == "/".join(object_path(key))


def test_containers() -> None:
    assert ("a", "b") == container_path("a/b/")
    assert ("a", "%00empty") == container_path("a//")
    assert container_path("a/" * 200) is None
