"""What a context may hold, and how it is read."""

from __future__ import annotations

import pytest

from modules import StorageModule
from modules.context import content_length, get_module, text
from modules.errors import ConfigurationError, InvalidArgument


def test_absent_is_none() -> None:
    assert text({}, "tenant") is None
    assert text({"tenant": None}, "tenant") is None
    assert content_length({}) is None


def test_what_is_there() -> None:
    assert text({"tenant": "acme/photos"}, "tenant") == "acme/photos"
    assert content_length({"content_length": 0}) == 0


@pytest.mark.parametrize("value", [b"acme", 1, ["acme"]])
def test_text_of_another_type(value: object) -> None:
    with pytest.raises(InvalidArgument, match="must be text") as raised:
        text({"tenant": value}, "tenant")
    assert raised.value.field == "context.tenant"


@pytest.mark.parametrize("value", ["1", 1.0, -1, True])
def test_length_that_is_no_number_of_bytes(value: object) -> None:
    with pytest.raises(InvalidArgument, match="whole number") as raised:
        content_length({"content_length": value})
    assert raised.value.field == "context.content_length"


def test_get_module_asks_the_host() -> None:
    inner = StorageModule()
    assert get_module({"func": {"getModule": {"inner": inner}.__getitem__}}, "inner") is inner


@pytest.mark.parametrize("context", [{}, {"func": {}}, {"func": None}, {"func": {"getModule": 1}}])
def test_get_module_without_a_host(context: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError, match=r"cannot find module inner: .* no getModule"):
        get_module(context, "inner")
