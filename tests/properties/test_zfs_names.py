"""Names and values: what is let through is what ZFS takes, and never an option or two lines."""

from __future__ import annotations

import re
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modules.errors import InvalidArgument, InvalidName
from zfsstore.zfs.listing import Listed, parse_list
from zfsstore.zfs.names import (
    check_bookmark_name,
    check_pool_name,
    check_short_name,
    check_snapshot_name,
)
from zfsstore.zfs.properties import check_properties, check_property_name

_ZFS = string.ascii_letters + string.digits + "_.:- "
_short = st.text(_ZFS, min_size=1, max_size=40).filter(lambda name: name not in (".", ".."))
_value = st.text(st.characters(exclude_categories=("Cc", "Cs")), max_size=60)


@given(_short)
def test_every_name_that_zfs_takes_is_taken(name: str) -> None:
    assert check_short_name(name) == name
    assert check_snapshot_name(f"t/a@{name}") == f"t/a@{name}"
    assert check_bookmark_name(f"t/a#{name}") == f"t/a#{name}"


@given(st.text(max_size=20))
def test_what_is_taken_is_made_of_zfs_characters(name: str) -> None:
    try:
        check_short_name(name)
    except InvalidName:
        assert not name or name in (".", "..") or not set(name) <= set(_ZFS)
    else:
        assert set(name) <= set(_ZFS)


@given(st.text(max_size=30))
def test_a_property_name_is_never_an_option_nor_two_arguments(name: str) -> None:
    try:
        check_property_name(name)
    except InvalidArgument:
        return
    assert re.fullmatch(r"[^-=,\n\0][^=,\n\0]*", name)


@pytest.mark.parametrize(
    "pool", ["mirror", "raidz", "raidz2", "draid", "9a", "-a", "a/b", "a b", ""]
)
def test_no_pool_has_such_a_name(pool: str) -> None:
    with pytest.raises(InvalidName):
        check_pool_name(pool)


@pytest.mark.parametrize("pool", ["tank", "T-1_x.y:z", "mirrored", "raidzone"])
def test_pools(pool: str) -> None:
    assert check_pool_name(pool) == pool


@pytest.mark.parametrize(
    "name", ["quota", "zfsstore:uuid", "userquota@bob", "com.sun:auto-snapshot"]
)
def test_property_names(name: str) -> None:
    assert check_property_name(name) == name


@pytest.mark.parametrize("value", ["a\nb", "a\0b", "a\tb", "\x1b[1m", "\ud800", "ü" * 4096])
def test_values_that_break_lines_or_limits_are_refused(value: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        check_properties({"zfsstore:name": value})
    assert caught.value.field == "zfsstore:name"


@given(st.lists(st.tuples(_short, _value, _value), max_size=5))
def test_a_list_reads_back_what_zfs_prints(rows: list[tuple[str, str, str]]) -> None:
    for _name, one, two in rows:
        check_properties({"a:b": one, "a:c": two})
    stdout = "".join(f"t@{name}\t{one}\t{two}\n" for name, one, two in rows)
    expected = [Listed(f"t@{name}", {"a:b": one, "a:c": two}) for name, one, two in rows]
    assert expected == parse_list(stdout, ("a:b", "a:c"))
