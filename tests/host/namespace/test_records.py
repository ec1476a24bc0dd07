from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zfsstore.host.errors import PreconditionFailed
from zfsstore.host.namespace.records import Conditions, parse_time


@pytest.mark.parametrize(
    ("conditions", "etag"),
    [
        (Conditions(), None),
        (Conditions(), "a"),
        (Conditions(if_match=("a", "b")), "b"),
        (Conditions(if_match=("*",)), "b"),
        (Conditions(if_none_match=("*",)), None),
        (Conditions(if_none_match=("a",)), "b"),
        (Conditions(if_none_match=("a",)), None),
        (Conditions(if_match=("a",), if_none_match=("b",)), "a"),
    ],
)
def test_conditions_that_hold(conditions: Conditions, etag: str | None) -> None:
    conditions.check(etag, operation="put", subject="key")


@pytest.mark.parametrize(
    ("conditions", "etag"),
    [
        (Conditions(if_match=("a",)), None),
        (Conditions(if_match=("a",)), "b"),
        (Conditions(if_match=("*",)), None),
        (Conditions(if_match=('W/"a"',)), "a"),
        (Conditions(if_match=()), "a"),
        (Conditions(if_none_match=("*",)), "a"),
        (Conditions(if_none_match=("x", "a")), "a"),
    ],
)
def test_conditions_that_do_not_hold(conditions: Conditions, etag: str | None) -> None:
    with pytest.raises(PreconditionFailed, match="key"):
        conditions.check(etag, operation="put", subject="key")


@given(st.integers(min_value=0, max_value=4_000_000_000 * 1_000_000))
def test_times_are_exact_to_the_microsecond(microseconds: int) -> None:
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    assert epoch + timedelta(microseconds=microseconds) == parse_time(microseconds)
