"""``zfsstore module check``: the conformance suite, with no code at all.

Imports the standard library and ``modules``; a vendor's machine needs nothing else of ours.
"""

from __future__ import annotations

import argparse
import os
import sys
from contextlib import redirect_stdout
from typing import TYPE_CHECKING

from modules.errors import InvalidArgument
from zfsstore.cli.output import Output, printable_lines
from zfsstore.cli.parsers import FAILED, OK, Commands, add_command
from zfsstore.cli.values import parse_json_object

_EXIT_STATUS = """\
exit status:
  0  every rule holds; one that does not apply is listed with the reason
  1  a rule is broken, or the module cannot be loaded; the reason is printed
  2  the command line is wrong"""

if TYPE_CHECKING:
    from modules.conformance import ModuleSpec


def add_check(group: Commands) -> None:
    """Add the command."""
    parser = add_command(
        group,
        "check",
        run_check,
        summary="is this class a correct storage module?",
        description="""\
Load a storage module and prove it against every rule of the contract: bytes in and out, torn
streams, hostile input, concurrency, honest capabilities, no leaks. Needs no server, no
configuration and no code. It stores objects, up to 100 MiB at once, and removes them again
(volumes it makes go to the module's trash): give it a place of its own.""",
        example="zfsstore module check simple.simple.SimpleStorage --args "
        '\'{"storage_dir": "/tmp/objects"}\'\n'
        "zfsstore module check newstore.newstore.NewStorage --args @args.json \\\n"
        "    --python-path dist/newstore-1.0-py3.11.egg --json",
        exit_status=_EXIT_STATUS,
    )
    parser.add_argument("module", metavar="DOTTED", help="package.module.Class")
    parser.add_argument(
        "--args",
        type=parse_json_object,
        default={},
        metavar="JSON",
        help="keyword arguments of its constructor; @FILE or - reads them from there",
    )
    parser.add_argument(
        "--python-path",
        action="append",
        default=[],
        metavar="PATH",
        help="a folder, .egg or .whl to import it from; may be repeated",
    )
    parser.add_argument(
        "--inner",
        type=parse_json_object,
        default={},
        metavar="JSON",
        help="for a wrapper: the modules it finds through getModule, "
        '{"NAME": {"module": "DOTTED", "args": {...}}}',
    )
    parser.add_argument(
        "--rule", action="append", metavar="ID", help="check only this rule; may be repeated"
    )
    parser.add_argument(
        "--exclusive",
        action="store_true",
        help="the place holds nothing else, so a module without volumes may be swept too",
    )


def run_check(args: argparse.Namespace, output: Output) -> int:
    """Run the suite and print one line a rule."""
    from modules.conformance import check_module, format_report

    with redirect_stdout(sys.stderr):  # what the module prints is not our report
        report = check_module(
            args.module,
            args.args,
            [os.path.abspath(entry) for entry in args.python_path],
            inner={name: _inner_spec(name, value) for name, value in args.inner.items()},
            rules=args.rule,
            exclusive=args.exclusive,
        )
    output.text(printable_lines(format_report(report)), report.to_dict())
    return OK if report.ok else FAILED


def _inner_spec(name: str, value: object) -> ModuleSpec:
    from modules.conformance import ModuleSpec

    members = {"module", "args", "python_path"}
    if not isinstance(value, dict) or "module" not in value or not set(value) <= members:
        raise InvalidArgument(
            "it is not described by module, args and python_path",
            operation="use inner module",
            subject=name,
            hint='write {"NAME": {"module": "package.module.Class", "args": {}}}',
            field="--inner",
        )
    path = [os.path.abspath(entry) for entry in value.get("python_path", [])]
    return ModuleSpec(value["module"], value.get("args", {}), tuple(path))
