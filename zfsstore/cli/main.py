"""Entry point of the ``zfsstore`` command: parse, run, and turn every failure into one line.

What a command needs (SQLAlchemy, falcon, gunicorn) is imported by its handler, not here, so
that ``zfsstore --help`` and ``zfsstore module check`` need nothing but the standard library.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from modules.errors import StorageError
from zfsstore.cli import (
    buckets,
    clones,
    dedup,
    exports,
    keys,
    parsers,
    server,
    snapshots,
    sweep,
    tenants,
    trash,
    users,
    vendor_modules,
    volumes,
)
from zfsstore.cli.output import Output, print_error

_DESCRIPTION = """\
Serve and administer an object store over ZFS or plain directories.

  zfsstore serve                                          start the host on 127.0.0.1:8080
  zfsstore module check simple.simple.SimpleStorage \\
      --args '{"storage_dir": "/tmp/objects"}'            is this a correct storage module?

Commands other than `module check` work on the host's data (--data or --config), whether it
runs or not; a running host takes their changes over at once."""

_EPILOG = """\
exit status: 0 done; 1 it could not be done, or a check found a failure; 2 wrong command line.
`zfsstore COMMAND --help` says more about each."""


def build_parser() -> parsers.Parser:
    """Return the parser of the whole command."""
    parser = parsers.new_parser("zfsstore", _DESCRIPTION)
    parser.epilog = _EPILOG
    parser.add_argument("--version", action="store_true", help="print the version and exit")
    commands = parser.add_subparsers(
        title="commands", metavar="COMMAND", dest="command", parser_class=parsers.Parser
    )
    groups = (server, vendor_modules, tenants, users, buckets, volumes, snapshots, clones)
    for group in (*groups, exports, trash, sweep, keys, dedup):
        group.add_parser(commands)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit status. Never raises but for SystemExit."""
    defaults = argparse.Namespace(config=None, data=None, json=False, debug=False)
    parser = build_parser()
    try:
        args = parser.parse_args(argv, defaults)
    except SystemExit as stop:  # --help printed, or the command line was wrong
        return int(stop.code or 0)
    output = Output(as_json=args.json)
    try:
        if args.version:
            output.text(f"zfsstore {_version()}", {"version": _version()})
            return parsers.OK
        if args.command is None:
            parser.error("a command is missing")
        status: int = args.handler(args, output)
        return status
    except SystemExit as stop:
        return int(stop.code or 0)
    except BrokenPipeError:  # the reader of our output went away, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return parsers.FAILED
    except KeyboardInterrupt:
        return parsers.INTERRUPTED
    except Exception as error:
        return _report(error, debug=args.debug)


def _report(error: Exception, *, debug: bool) -> int:
    if debug:
        import traceback

        traceback.print_exc()
    if isinstance(error, StorageError):
        print_error(str(error))
    elif isinstance(error, OSError):
        what = f"use {error.filename}" if error.filename else "go on"
        print_error(f"cannot {what}: {error.strerror or error}")
    else:
        print_error(
            f"cannot go on: unexpected {type(error).__name__}: {error}; "
            "run with --debug for the traceback"
        )
    return parsers.FAILED


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("zfsstore")
    except PackageNotFoundError:  # a checkout that was not installed
        return "unknown (not installed)"
