"""Any UTF-8 name becomes one safe component, and no two names the same one."""

from __future__ import annotations

import re

from hypothesis import example, given
from hypothesis import strategies as st

from modules.errors import InvalidName
from zfsstore.zfs.commands import format_text_property, parse_text_property
from zfsstore.zfs.names import (
    MAX_COMPONENT,
    check_dataset_name,
    decode_component,
    encode_component,
    split_volume_name,
)

NAMES = st.text(
    st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=60
).filter(lambda name: len(name.encode()) <= 255)
LONG_NAMES = st.text(st.sampled_from("aB_é"), min_size=60, max_size=120)
ANY_NAMES = NAMES | LONG_NAMES


@given(ANY_NAMES)
@example("..")
@example(".zfsstore")
@example("-rf")
@example("a" * 255)
@example("_h" + "0" * 40)
def test_component_is_safe_everywhere(name: str) -> None:
    component = encode_component(name)
    assert re.fullmatch(r"[a-z0-9_][a-z0-9._-]*", component)
    assert len(component) <= MAX_COMPONENT
    check_dataset_name(f"tank/{component}")


@given(ANY_NAMES)
def test_name_comes_back_from_component_and_stored_name(name: str) -> None:
    assert decode_component(encode_component(name), name) == name


@given(NAMES)
def test_short_component_needs_no_stored_name(name: str) -> None:
    component = encode_component(name)
    expected = None if re.search("_h[0-9a-f]{40}$", component) else name
    assert decode_component(component, "another") == expected


@given(ANY_NAMES, ANY_NAMES)
@example("a", "A")
@example("é", "e\u0301")
@example("a" * 100, "a" * 101)
def test_different_names_get_different_components(one: str, other: str) -> None:
    assert (one == other) == (encode_component(one) == encode_component(other))


@given(st.text(max_size=80))
def test_foreign_component_never_gives_a_name_that_encodes_elsewhere(component: str) -> None:
    name = decode_component(component)
    assert name is None or encode_component(name) == component


@given(st.text())
def test_anything_as_volume_name_is_split_or_refused(name: str) -> None:
    try:
        parts = split_volume_name(name)
    except InvalidName:
        return
    assert "/".join(parts) == name
    assert all(encode_component(part) for part in parts)


@given(ANY_NAMES)
@example("-")
@example("none")
@example("a\tb\n%41\u2028")
def test_property_value_is_one_line_and_comes_back(name: str) -> None:
    value = format_text_property(name)
    assert value != "-"
    assert value.isprintable()
    assert value.isascii()
    assert parse_text_property(value) == name
