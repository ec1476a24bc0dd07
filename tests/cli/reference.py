"""Writes the reference part of docs/cli.md from the parsers: ``python tests/cli/reference.py``."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

from zfsstore.cli.main import build_parser
from zfsstore.cli.parsers import EXIT_STATUS

DOCUMENT = Path(__file__).parents[2] / "docs" / "cli.md"
MARKER = "<!-- below: written by tests/cli/reference.py -->\n"


def commands() -> Iterator[argparse.ArgumentParser]:
    """Yield the parser of every command that runs something, in the order of --help."""
    pending: list[argparse.ArgumentParser] = [build_parser()]
    while pending:
        parser = pending.pop(0)
        children = [
            child
            for action in parser._actions
            if isinstance(action, argparse._SubParsersAction)
            for child in action.choices.values()
        ]
        if not children:
            yield parser
        pending = children + pending


def format_reference() -> str:
    """Return one section for each command: what it does, its arguments, an example."""
    return "\n".join(_section(parser) for parser in commands())


def _section(parser: argparse.ArgumentParser) -> str:
    lines = [f"## {parser.prog}", "", parser.description or "", ""]
    actions = [
        action
        for group in parser._action_groups
        if group.title != "options of every command"
        for action in group._group_actions
        if not isinstance(action, argparse._HelpAction)
    ]
    for action in actions:
        lines.append(f"- `{_name(action)}`{_required(action)}{_help(action)}")
    if actions:
        lines.append("")
    example, _, status = (parser.epilog or "").partition("\n\n")
    lines += ["```sh", *(line.removeprefix("  ") for line in example.splitlines()[1:]), "```", ""]
    if status != EXIT_STATUS:
        lines += [_status(status), ""]
    return "\n".join(lines)


def _name(action: argparse.Action) -> str:
    name = action.option_strings[-1] if action.option_strings else ""
    values = action.metavar or ("|".join(action.choices) if action.choices else "")
    return f"{name} {values if action.nargs != 0 else ''}".strip()


def _required(action: argparse.Action) -> str:
    is_option = bool(action.option_strings)
    if is_option:
        return " (required)" if action.required else ""
    return "" if action.nargs != "?" else " (may be left out)"


def _help(action: argparse.Action) -> str:
    return f": {action.help}" if action.help else ""


def _status(text: str) -> str:
    title, *lines = text.splitlines()
    return "\n".join([title.capitalize(), "", *(f"- {line.strip()}" for line in lines)])


def main() -> None:
    """Rewrite what lies below the marker."""
    before, marker, _ = DOCUMENT.read_text(encoding="utf-8").partition(MARKER)
    DOCUMENT.write_text(f"{before}{marker}\n{format_reference()}", encoding="utf-8")


if __name__ == "__main__":
    main()
