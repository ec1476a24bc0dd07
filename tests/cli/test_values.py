"""Sizes, ages and JSON arguments: what is accepted, and what a refusal says."""

from __future__ import annotations

import argparse
import io
from datetime import timedelta
from pathlib import Path

import pytest

from zfsstore.cli.output import format_size, format_table, printable
from zfsstore.cli.values import parse_age, parse_json_object, parse_quota, parse_size


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [
        ("0", 0),
        ("500", 500),
        ("500B", 500),
        ("1K", 1024),
        ("1k", 1024),
        ("10GiB", 10 * 1024**3),
        ("10 GiB", 10 * 1024**3),
        ("10G", 10 * 1024**3),
        ("10GB", 10 * 1000**3),
        ("1EiB", 1024**6),
    ],
)
def test_sizes(text: str, size_bytes: int) -> None:
    assert size_bytes == parse_size(text)


@pytest.mark.parametrize("text", ["", "-1", "1.5G", "10 XB", "GiB", "1e9", "10 Gi Bytes"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="is no size; write"):
        parse_size(text)


def test_a_quota_may_be_none() -> None:
    assert parse_quota("none") is None
    assert 1024 == parse_quota("1KiB")


@pytest.mark.parametrize(
    ("text", "age"),
    [
        ("90s", timedelta(seconds=90)),
        ("30m", timedelta(minutes=30)),
        ("24h", timedelta(hours=24)),
        ("7d", timedelta(days=7)),
        ("2w", timedelta(weeks=2)),
    ],
)
def test_ages(text: str, age: timedelta) -> None:
    assert age == parse_age(text)


@pytest.mark.parametrize("text", ["", "24", "h", "-1h", "1.5h", "1y", "99999999999999w"])
def test_what_is_no_age_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match=r"age|long"):
        parse_age(text)


def test_json_from_the_argument_a_file_and_standard_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "args.json"
    file.write_text('{"a": 1}')
    monkeypatch.setattr("sys.stdin", io.StringIO('{"a": 1}'))

    assert [{"a": 1}] * 3 == [
        parse_json_object('{"a": 1}'),
        parse_json_object(f"@{file}"),
        parse_json_object("-"),
    ]


@pytest.mark.parametrize(
    "text",
    ["", "{", "[1]", '"text"', "null", "@/no/such/file", "[" * 100_000, '{"a": NaN}',
     '{"a": 1e999}', '{"a": "\\ud800"}', '{"a": "\udcff"}', '{"a": ' + "9" * 5000 + "}"],
    ids=lambda text: ascii(text[:20]),
)  # fmt: skip
def test_what_is_no_json_object_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match=r"no JSON|cannot read|too deeply"):
        parse_json_object(text)


def test_a_table_lines_up_and_shows_control_characters_as_escapes() -> None:
    assert "NAME       SIZE\nphotos     1\na\\x1b[2Jb  22" == format_table(
        ["NAME", "SIZE"], [("photos", 1), ("a\x1b[2Jb", 22)]
    )


def test_printable_keeps_one_line_and_any_script() -> None:
    assert "żółw\\n\\ud800" == printable("żółw\n\ud800")


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [(None, "-"), (0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (2**70, "1024.0 EiB")],
)
def test_sizes_for_people(size_bytes: int | None, text: str) -> None:
    assert text == format_size(size_bytes)
