"""The table of properties that may be chosen for a volume."""

from __future__ import annotations

import pytest

from modules.errors import InvalidArgument
from zfsstore.volumes.datasets import FIXED
from zfsstore.volumes.properties import ENCRYPTION, SETTABLE, check_chosen, parse_size
from zfsstore.zfs.properties import check_properties

MIB = 1024 * 1024

GOOD = [
    ("quota", "1G", str(1024 * MIB)),
    ("quota", "none", "none"),
    ("refquota", "0", "none"),
    ("reservation", "1", "1"),
    ("refreservation", "10gib", str(10 * 1024 * MIB)),
    ("recordsize", "128K", "131072"),
    ("recordsize", "16M", str(16 * MIB)),
    ("special_small_blocks", "0", "0"),
    ("compression", "zstd-fast-1000", "zstd-fast-1000"),
    ("dedup", "edonr,verify", "edonr,verify"),
    ("snapshot_limit", "17", "17"),
    ("copies", "2", "2"),
]
BAD = [
    ("quota", "1"),
    ("quota", "-5G"),
    ("quota", "1.5G"),
    ("quota", "9E"),
    ("quota", str(2**63)),
    ("quota", ""),
    ("quota", "1G\n"),
    ("quota", "٣G"),
    ("quota", "1\u212a"),  # the Kelvin sign
    ("refquota", "off"),
    ("recordsize", "0"),
    ("recordsize", "256"),
    ("recordsize", "130000"),
    ("recordsize", "32M"),
    ("recordsize", "none"),
    ("compression", "zstd-20"),
    ("compression", "on,off"),
    ("sync", "disabled"),
    ("checksum", "off"),
    ("snapdir", "disabled"),
    ("copies", "4"),
    ("snapshot_limit", "007"),
    ("special_small_blocks", "2M"),
]
NEVER = ["mountpoint", "setuid", "sharenfs", "keylocation", "zfsstore:uuid", "Quota", "", "quota=1"]


@pytest.mark.parametrize(("name", "value", "expected"), GOOD)
def test_value_that_fits_gets_its_one_spelling(name: str, value: str, expected: str) -> None:
    assert {name: expected} == check_chosen({name: value})
    assert {name: expected} == check_chosen({name: expected})


@pytest.mark.parametrize(("name", "value"), BAD)
def test_value_that_does_not_fit_is_refused_by_name(name: str, value: str) -> None:
    with pytest.raises(InvalidArgument, match="must be") as caught:
        check_chosen({name: value})
    assert name == caught.value.field


@pytest.mark.parametrize("name", NEVER)
def test_property_outside_the_table_is_refused(name: str) -> None:
    with pytest.raises(InvalidArgument, match="may not be chosen"):
        check_chosen({name: "on"})


def test_value_that_is_no_text_is_refused() -> None:
    numbers: dict[str, str] = {"quota": 2**40}  # type: ignore[dict-item]  # what JSON may hold
    with pytest.raises(InvalidArgument, match="must be"):
        check_chosen(numbers)


def test_nothing_fixed_can_be_chosen_and_all_can_be_named() -> None:
    assert not set(FIXED) & set(SETTABLE)
    assert not set(ENCRYPTION) & set(SETTABLE)
    check_properties(dict.fromkeys((*SETTABLE, *ENCRYPTION), "x"))


def test_sizes_are_1024_based() -> None:
    assert (3 * MIB, 512, None) == (parse_size("3m"), parse_size("512B"), parse_size("1Z"))
