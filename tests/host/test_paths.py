"""Raw request targets to names and back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modules.errors import InvalidArgument, InvalidName
from zfsstore.host.paths import format_path, parse_path, request_path

NAMES = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1)


@given(st.lists(NAMES.filter(lambda name: name not in (".", "..")), min_size=1), st.booleans())
def test_a_formatted_path_reads_back(names: list[str], is_container: bool) -> None:
    path = parse_path(format_path(names, is_container=is_container))
    assert (list(path.components), path.is_container) == (names, is_container)


@pytest.mark.parametrize(
    ("target", "names", "is_container"),
    [
        ("/", (), True),
        ("/cdmi", ("cdmi",), False),
        ("/cdmi/a%20b/", ("cdmi", "a b"), True),
        ("/cdmi/a%2520b", ("cdmi", "a%20b"), False),  # decoded once
        ("/cdmi/a?x=/b/", ("cdmi", "a"), False),
        ("/cdmi/a#b", ("cdmi", "a"), False),
        ("http://host:80/cdmi/a", ("cdmi", "a"), False),
        ("/cdmi/%E2%82%AC", ("cdmi", "€"), False),
        ("/cdmi/\xe2\x82\xac", ("cdmi", "€"), False),  # unescaped bytes, as WSGI passes them
        ("/cdmi/a+b", ("cdmi", "a+b"), False),
    ],
)
def test_request_targets(target: str, names: tuple[str, ...], is_container: bool) -> None:
    for variable in ("RAW_URI", "REQUEST_URI"):
        path = request_path({variable: target, "PATH_INFO": "/misleading"})
        assert (path.components, path.is_container) == (names, is_container)


@pytest.mark.parametrize(
    "target",
    [
        "/cdmi//a",
        "/cdmi/a//",
        "/cdmi/./a",
        "/cdmi/../a",
        "/cdmi/%2e%2E/a",
        "/cdmi/a%2Fb",
        "/cdmi/a%00",
    ],
)
def test_names_that_are_refused(target: str) -> None:
    with pytest.raises(InvalidName):
        request_path({"RAW_URI": target})


@pytest.mark.parametrize("target", ["/cdmi/%", "/cdmi/%4", "/cdmi/%zz", "/cdmi/%ff", "/cdmi/\xff"])
def test_escapes_that_are_refused(target: str) -> None:
    with pytest.raises(InvalidArgument):
        request_path({"RAW_URI": target})


def test_the_mount_point_is_no_part_of_the_path() -> None:
    environ = {"RAW_URI": "/my%20store/v1/cdmi/a/", "SCRIPT_NAME": "/my store/v1"}
    path = request_path(environ)
    assert path.components == ("cdmi", "a")
    assert path.mount == "/my%20store/v1"
    redirected = format_path(path.components, is_container=True, mount=path.mount)
    assert redirected == "/my%20store/v1/cdmi/a/"
