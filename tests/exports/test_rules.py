"""What may stand in an exports file."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modules.errors import InvalidArgument
from zfsstore.exports import (
    DEFAULT_OPTIONS,
    check_clients,
    check_export_options,
    check_export_path,
    check_fsid,
    safe_file_name,
)


@pytest.mark.parametrize(
    "client",
    [
        "client",
        "client.example.org",
        "client.example.org.",
        "my_host-7",
        "10.0.0.7",
        "10.0.0.0/8",
        "10.1.2.3/8",
        "10.0.0.0/255.0.0.0",
        "fe80::1",
        "2001:db8::/32",
        "@trusted",
        "*",
        "*.example.org",
        "node?.example.org",
        "node[0-9].example.org",
        "abc.de",
    ],
)
def test_clients_of_every_form_are_accepted(client: str) -> None:
    assert (client,) == check_clients([client])


@pytest.mark.parametrize(
    "client",
    [
        "",
        " ",
        "a b",
        "a\n",
        "a\n/etc *(rw)",
        "a(rw)",
        "a)",
        'a"b',
        "a'b",
        "a\\040b",
        "a\0",
        "#a",
        "-rw",
        "-ro,no_root_squash",
        "--",
        "@",
        "@a b",
        "10.0.0.0/33",
        "10.0.0",
        "10.0.0.256",
        "10.0.0.0/",
        "1::2::3",
        "fe80::1%eth0",
        "fe80::1%\n",
        "host/24",
        "gss/krb5",
        "a,b",
        "a=b",
        "hôte",
        "a" * 256,
        "[a b]",
        "[]",
        "٣",
        7,
        None,
    ],
)
def test_other_clients_are_refused(client: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        check_clients([client])
    assert "nfs_clients" == caught.value.field


def test_a_text_is_no_list_of_clients() -> None:
    with pytest.raises(InvalidArgument):
        check_clients("10.0.0.7")


def test_a_client_is_named_once() -> None:
    with pytest.raises(InvalidArgument):
        check_clients(["a", "a"])


def test_default_options_squash_root() -> None:
    assert DEFAULT_OPTIONS == check_export_options(DEFAULT_OPTIONS)
    assert "root_squash" in DEFAULT_OPTIONS


@pytest.mark.parametrize(
    "option", ["ro", "no_root_squash", "anonuid=65534", "sec=krb5i:krb5p", "xprtsec=tls"]
)
def test_options_of_exports5_are_accepted(option: str) -> None:
    assert (option,) == check_export_options([option])


@pytest.mark.parametrize(
    "option",
    [
        "",
        "rw,ro",
        "rw)",
        "rw\n",
        " rw",
        "fsid=0",
        "fsid=root",
        "refer=/a@b",
        "mountpoint=/etc",
        "anonuid=-1",
        "anonuid=",
        "anonuid=1\n",
        "anonuid=٣",
        "anonuid",
        "sec=sys,rw",
        "rw=1",
        3,
    ],
)
def test_other_options_are_refused(option: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        check_export_options([option])
    assert "export_options" == caught.value.field


@pytest.mark.parametrize("path", ["/srv/v1", "/srv/a.b/c_d-e", "/a:b/@c+d"])
def test_plain_paths_are_accepted(path: str) -> None:
    assert path == check_export_path(path)


@pytest.mark.parametrize(
    "path",
    [
        "",
        "srv",
        "/",
        "//",
        "/srv/",
        "/srv//a",
        "/srv/../etc",
        "/srv/.",
        "/srv/a b",
        "/srv/a\n/etc",
        "/srv/a\n",
        "/srv/a(b",
        '/srv/"a"',
        "/srv/a'b",
        "/srv/a\\b",
        "/srv/a\0",
        "/srv/a#b",
        "/srv/a,b",
        "/srv/é",
        "/" + "a" * 2000,
        None,
    ],
)
def test_other_paths_are_refused(path: str) -> None:
    with pytest.raises(InvalidArgument):
        check_export_path(path)


@given(st.text())
def test_no_stray_character_passes_any_check(text: str) -> None:
    stray = set(text) - set(
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-*?[]/:@=+"
    )
    for check in (lambda: check_clients([text]), lambda: check_export_options([text])):
        try:
            check()
        except InvalidArgument:
            continue
        assert not stray
    try:
        check_export_path(text)
    except InvalidArgument:
        return
    assert not stray


def test_an_fsid_is_a_uuid() -> None:
    fsid = "0C1A2B3C-4d5e-6f70-8192-a3b4c5d6e7f8"
    assert fsid.lower() == check_fsid(fsid)
    for wrong in ("", "0", "root", "1\n", None):
        with pytest.raises(InvalidArgument):
            check_fsid(wrong)  # type: ignore[arg-type]  # on purpose


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("v1", "v1"),
        ("a.b_c-d", "a.b_c-d"),
        ("../../etc/passwd", "etcpasswd"),
        ("..hidden", "hidden"),
        ("a b:c\n", "abc"),
        ("...", ""),
        ("é", ""),
    ],
)
def test_file_names_keep_safe_characters_only(name: str, safe: str) -> None:
    assert safe == safe_file_name(name)
