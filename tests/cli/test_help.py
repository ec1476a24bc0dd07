"""Every command explains itself, and docs/cli.md says the same."""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys

import pytest

from tests.cli.reference import DOCUMENT, MARKER, commands, format_reference
from zfsstore.cli.main import build_parser, main

COMMANDS = list(commands())


def test_the_documentation_is_what_the_parsers_say() -> None:
    written = DOCUMENT.read_text(encoding="utf-8").partition(MARKER)[2].lstrip("\n")

    assert format_reference() == written, "run: python tests/cli/reference.py"


@pytest.mark.parametrize("parser", COMMANDS, ids=lambda parser: parser.prog)
def test_every_command_has_help_worth_reading(
    parser: argparse.ArgumentParser, capsys: pytest.CaptureFixture[str]
) -> None:
    assert 0 == main([*parser.prog.split()[1:], "--help"])

    text = capsys.readouterr().out
    assert parser.description is not None
    assert parser.description in text
    assert "example:\n" in text
    assert "exit status:\n" in text
    assert all(len(line) <= 100 for line in text.splitlines())


@pytest.mark.parametrize("parser", COMMANDS, ids=lambda parser: parser.prog)
def test_every_example_is_a_command_line_that_parses(
    parser: argparse.ArgumentParser, tmp_path: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zfsstore.cli.values.Path.read_text", lambda *_, **__: "{}")
    example = (parser.epilog or "").partition("\n\n")[0].replace("\\\n", " ")

    for line in example.splitlines()[1:]:
        lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        words = list(lexer)
        while words:
            end = next(
                (i for i, word in enumerate(words) if word in ("&&", "|", "<", ">")), len(words)
            )
            command, words = words[:end], words[end + 1 :]
            if command[:1] == ["zfsstore"]:
                assert build_parser().parse_args(command[1:]).handler is not None


def test_help_and_check_import_nothing_heavy() -> None:
    code = (
        "import sys, zfsstore.cli.main as m\n"
        "m.main(['module', 'check', '--help'])\n"
        "heavy = {'sqlalchemy', 'falcon', 'gunicorn', 'argon2', 'unittest', 'asyncio'}\n"
        "heavy |= {'zfsstore.storage', 'sqlite3', 'subprocess'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert "[]" == done.stdout.splitlines()[-1]


def test_a_wrong_command_line_is_one_line_and_status_2(capsys: pytest.CaptureFixture[str]) -> None:
    for argv in (
        [],
        ["nonsense"],
        ["tenant"],
        ["tenant", "create"],
        ["sweep", "--older-than", "x"],
    ):
        assert 2 == main(argv)
        error = capsys.readouterr().err
        assert error.startswith("zfsstore: cannot read the command line: ")
        assert error.endswith("--help`\n")
        assert 1 == error.count("\n")


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert 0 == main(["--version"])
    assert capsys.readouterr().out.startswith("zfsstore ")
