"""How every command's parser looks: one summary, one example, the exit statuses."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Final, NoReturn, TypeAlias

from zfsstore.cli.output import Output, print_error

OK: Final = 0
FAILED: Final = 1
USAGE: Final = 2
INTERRUPTED: Final = 130

Commands: TypeAlias = "argparse._SubParsersAction[Parser]"
Handler = Callable[[argparse.Namespace, Output], int]

EXIT_STATUS: Final = f"""\
exit status:
  {OK}  done
  {FAILED}  it could not be done, or a check found a failure; one line on stderr says why
  {USAGE}  the command line is wrong"""


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line that ends in the command to ask for help."""

    def error(self, message: str) -> NoReturn:
        print_error(f"cannot read the command line: {message}; see `{self.prog} --help`")
        raise SystemExit(USAGE)


def new_parser(prog: str, description: str) -> Parser:
    """Return the top parser, with the options every command takes."""
    parser = Parser(
        prog=prog,
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add_shared_options(parser)
    return parser


def add_shared_options(parser: argparse.ArgumentParser) -> None:
    """Add --config, --data, --json and --debug; they may stand before or after the command."""
    group = parser.add_argument_group("options of every command")
    group.add_argument(
        "--config", metavar="FILE", default=argparse.SUPPRESS, help="the host's settings, TOML"
    )
    group.add_argument(
        "--data",
        metavar="DIR",
        default=argparse.SUPPRESS,
        help="the host's data folder (default: $ZFSSTORE_DATA, else ./data)",
    )
    group.add_argument(
        "--json",
        action="store_true",
        default=argparse.SUPPRESS,
        help="print one JSON document instead of text",
    )
    group.add_argument(
        "--debug",
        action="store_true",
        default=argparse.SUPPRESS,
        help="show the traceback of a failure",
    )


def add_group(commands: Commands, name: str, summary: str, description: str) -> Commands:
    """Add a group of commands, such as ``tenant``, and return where its commands go."""
    parser = commands.add_parser(
        name,
        help=summary,
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    return parser.add_subparsers(
        title="commands", metavar="COMMAND", dest="subcommand", required=True
    )


def add_command(
    commands: Commands,
    name: str,
    handler: Handler,
    *,
    summary: str,
    description: str,
    example: str,
    exit_status: str = EXIT_STATUS,
) -> Parser:
    """Add one command and return its parser, for its own arguments.

    Args:
        summary: a few words for the list of commands.
        description: what it does, for its own --help.
        example: one or more command lines, as a user would type them.
        exit_status: the section on exit statuses, when it differs from the common one.
    """
    lines = "\n".join(f"  {line}" for line in example.splitlines())
    parser = commands.add_parser(
        name,
        help=summary,
        description=description,
        epilog=f"example:\n{lines}\n\n{exit_status}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add_shared_options(parser)
    parser.set_defaults(handler=handler)
    return parser
