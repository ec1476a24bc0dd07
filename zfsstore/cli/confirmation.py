"""Asking before something is destroyed, and only showing what would be done."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable

from modules.errors import Conflict
from zfsstore.cli.output import print_note, printable


def add_yes(parser: argparse.ArgumentParser) -> None:
    """Add --yes."""
    parser.add_argument("--yes", action="store_true", help="do not ask")


def add_dry_run(parser: argparse.ArgumentParser) -> None:
    """Add --dry-run."""
    parser.add_argument(
        "--dry-run", action="store_true", help="check, say what would be done, change nothing"
    )


def confirm(args: argparse.Namespace, name: str, *, operation: str, plan: Iterable[str]) -> None:
    """Return when the user agrees: by --yes, or by typing *name* at a terminal.

    Args:
        name: what the operation is about, as the user named it.
        operation: a verb phrase, "destroy volume".
        plan: what will happen, a line each; shown before the question.

    Raises:
        Conflict: there is no terminal to ask at, or the answer was another. Nothing was changed.
    """
    if args.yes:
        return
    if not sys.stdin.isatty():
        raise Conflict(
            "it was not confirmed",
            operation=operation,
            subject=name,
            hint="look at it with --dry-run, then add --yes",
        )
    for line in plan:
        print_note(line)
    print(f"Type {printable(name)} to {operation}: ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().rstrip("\n") != name:
        raise Conflict("it was not confirmed", operation=operation, subject=name)


def done(args: argparse.Namespace, present: str, past: str) -> str:
    """Return ``would destroy`` for a dry run, ``destroyed`` otherwise."""
    return f"would {present}" if args.dry_run else past
