"""Decisions about ZFS volumes that need no ZFS."""

from __future__ import annotations

import io
import struct

import pytest

from modules.errors import InvalidArgument
from zfsstore.volumes.datasets import UUID
from zfsstore.volumes.zfs_identity import plan_uuids
from zfsstore.volumes.zfs_stream_head import read_head
from zfsstore.volumes.zfs_trash_calls import plan_destruction
from zfsstore.zfs.commands import Dataset, Property
from zfsstore.zfs.errors import InvalidStream

ONE = "11111111-1111-4111-8111-111111111111"
TWO = "22222222-2222-4222-8222-222222222222"


def carrier(name: str, uuid: str, createtxg: int, *, guid: str = "5") -> Dataset:
    values = {UUID: uuid, "createtxg": str(createtxg), "guid": guid}
    return Dataset(name, {key: Property(value, "local") for key, value in values.items()})


def test_distinct_uuids_stay() -> None:
    assert {} == plan_uuids([carrier("p/a", ONE, 2), carrier("p/b", TWO, 1)])


def test_the_oldest_keeps_a_uuid_and_the_others_get_distinct_ones_in_any_order() -> None:
    datasets = [carrier(f"p/{txg}", ONE, txg, guid=str(txg)) for txg in (4, 2, 3)]
    plan = plan_uuids(datasets)
    assert {"p/3", "p/4"} == set(plan)
    assert 3 == len({ONE, *plan.values()})
    assert plan == plan_uuids(reversed(datasets))


def test_of_one_age_the_first_name_counts() -> None:
    assert ["p/b"] == list(plan_uuids([carrier("p/b", ONE, 1), carrier("p/a", ONE, 1)]))


def test_a_malformed_uuid_is_none() -> None:
    assert {} == plan_uuids([carrier("p/a", "x", 1), carrier("p/b", "x", 2)])


@pytest.mark.parametrize(
    ("clones", "expected"),
    [
        ({}, ["t/a", "t/b"]),
        ({"t/a": {"p/live"}}, ["t/b"]),
        ({"t/a/x": {"t/a/y"}}, ["t/a", "t/b"]),
        ({"t/a": {"t/b"}}, ["t/b", "t/a"]),
        ({"t/a/x": {"t/b/y"}, "t/b": {"p/live"}}, []),
        ({"t/a": {"t/ab"}}, ["t/b"]),
        ({"t/a": {"t/b/x"}, "t/b": {"t/a/x"}}, []),
        ({"t/elsewhere": {"p/live"}}, ["t/a", "t/b"]),
    ],
)
def test_what_a_clone_outside_needs_is_not_destroyed(
    clones: dict[str, set[str]], expected: list[str]
) -> None:
    assert expected == plan_destruction(["t/a", "t/b"], clones)


def stream(order: str = "<", *, kind: int = 1, base: int = 0, magic: int = 0x2F5BACBAC) -> bytes:
    """Return the first record of a stream, and something after it."""
    begin = struct.pack(order + "IIQQQIIQQ", 0, 0, magic, kind | 0x40, 1, 2, 0, 1234, base)
    return begin.ljust(312, b"n") + b"after"


class Dribble(io.BytesIO):
    """Gives seven bytes at a time."""

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(min(7, size if size is not None and size >= 0 else 7))


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(("base", "expected"), [(0, None), (99, 99)])
def test_head_of_a_stream_of_either_byte_order(order: str, base: int, expected: int | None) -> None:
    source = Dribble(stream(order, base=base))
    head = read_head(source)
    assert (1234, expected, 312) == (head.guid, head.base_guid, len(head.data))
    assert b"after" == b"".join(iter(lambda: source.read(9), b""))


@pytest.mark.parametrize("data", [b"", b"x" * 400, stream()[:311], stream(magic=1)])
def test_what_is_no_stream_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidStream, match="does not begin"):
        read_head(io.BytesIO(data))


def test_several_streams_in_one_are_refused() -> None:
    with pytest.raises(InvalidArgument, match="several streams"):
        read_head(io.BytesIO(stream(kind=2)))
