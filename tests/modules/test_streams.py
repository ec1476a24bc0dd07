"""copy(): short reads, wrong lengths, partial writes."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modules.errors import InvalidArgument, TruncatedStream
from modules.streams import copy


class Dripping:
    """A source that returns at most the given number of bytes each time, in turn."""

    def __init__(self, data: bytes, steps: list[int]) -> None:
        self._data = io.BytesIO(data)
        self._steps = steps
        self._calls = 0

    def read(self, size: int, /) -> bytes:
        self._calls += 1
        return self._data.read(min(size, self._steps[self._calls % len(self._steps)]))


@given(
    st.binary(max_size=2000),
    st.lists(st.integers(1, 50), min_size=1, max_size=5),
    st.integers(1, 100),
)
def test_copy_gathers_short_reads_into_blocks(data: bytes, steps: list[int], block: int) -> None:
    written: list[bytes] = []
    count = copy(Dripping(data, steps), lambda b: written.append(b), block_size=block)
    assert b"".join(written) == data
    assert count == len(data)
    assert all(len(b) == block for b in written[:-1])


@given(st.binary(max_size=500), st.integers(1, 7))
def test_copy_finishes_partial_writes(data: bytes, at_most: int) -> None:
    out = bytearray()

    def write(block: bytes) -> int:
        out.extend(block[:at_most])
        return min(len(block), at_most)

    copy(io.BytesIO(data), write, block_size=64)
    assert bytes(out) == data


@pytest.mark.parametrize("expected", [0, 9, 11, 1000])
def test_a_wrong_length_is_refused(expected: int) -> None:
    with pytest.raises(TruncatedStream) as caught:
        copy(io.BytesIO(b"0123456789"), lambda b: None, expected_bytes=expected)
    assert caught.value.expected_bytes == expected


def test_nothing_is_written_past_the_promised_length() -> None:
    out: list[bytes] = []
    with pytest.raises(TruncatedStream):
        copy(io.BytesIO(b"x" * 100), out.append, expected_bytes=25, block_size=10)
    assert b"".join(out) == b"x" * 20


def test_text_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="read\\(\\) must return bytes, not str"):
        copy(io.StringIO("text"), lambda b: None)  # type: ignore[arg-type]  # the mistake tested


def test_before_block_may_stop_the_copy() -> None:
    out: list[bytes] = []

    def stop_at_20(done: int, size: int) -> None:
        if done + size > 20:
            raise RuntimeError("enough")

    with pytest.raises(RuntimeError):
        copy(io.BytesIO(b"x" * 100), out.append, block_size=10, before_block=stop_at_20)
    assert len(out) == 2
