"""``zfsstore module``: the configured storage modules, and the check that one is correct."""

from __future__ import annotations

import argparse
import json
import os

from zfsstore.cli.module_check import add_check
from zfsstore.cli.output import Output
from zfsstore.cli.parsers import OK, Commands, add_command, add_group
from zfsstore.cli.session import administration
from zfsstore.cli.values import parse_json_object


def add_parser(commands: Commands) -> None:
    """Add the group."""
    group = add_group(
        commands,
        "module",
        "storage modules: list, show, put, delete, check",
        "Storage modules: the classes that keep objects, each configured under a name.",
    )
    add_command(
        group,
        "list",
        run_list,
        summary="list the configured modules",
        description="List the configured storage modules by name. Secrets in args are never shown.",
        example="zfsstore module list",
    )
    show = add_command(
        group,
        "show",
        run_show,
        summary="show one configured module",
        description="Show one configured storage module. Secrets in args read (redacted).",
        example="zfsstore module show default --json",
    )
    show.add_argument("name", metavar="NAME")
    _add_put(group)
    delete = add_command(
        group,
        "delete",
        run_delete,
        summary="remove a module that nothing uses",
        description="""\
Remove a module's configuration; its data stays where it is. Refused while a tenant's policy
or another module's args name it.""",
        example="zfsstore module delete newstore",
    )
    delete.add_argument("name", metavar="NAME")
    add_check(group)


def _add_put(group: Commands) -> None:
    put = add_command(
        group,
        "put",
        run_put,
        summary="configure a module, or change one",
        description="""\
Configure a storage module under NAME, or replace what was configured there. It is loaded,
instantiated and health-checked first; when that fails nothing changes. A running host uses
it with its next request. Changed code at a known path needs `zfsstore reload`.""",
        example="zfsstore module put newstore newstore.newstore.NewStorage \\\n"
        '    --args \'{"directory": "/srv/new"}\' --python-path /srv/eggs/newstore.egg\n'
        'zfsstore module put tank zfsstore.ZFSStorage --args \'{"dataset": "tank/objects"}\'\n'
        "zfsstore module put remote newstore.newstore.NewStorage --args @remote.json",
    )
    put.add_argument("name", metavar="NAME")
    put.add_argument("module", metavar="DOTTED", help="package.module.Class")
    put.add_argument("--label", default="", help="a few words for people")
    put.add_argument(
        "--args",
        type=parse_json_object,
        default={},
        metavar="JSON",
        help="keyword arguments of its constructor; @FILE or - (standard input) for secrets",
    )
    put.add_argument(
        "--python-path",
        action="append",
        default=[],
        metavar="PATH",
        help="a folder, .egg or .whl to import it from; may be repeated",
    )


def run_list(args: argparse.Namespace, output: Output) -> int:
    """List modules."""
    with administration(args) as admin:
        modules = admin.list_modules()
    output.table(
        ["MODULE", "CLASS", "LABEL"],
        [(module["name"], module["module"], module["label"]) for module in modules],
        modules,
    )
    return OK


def run_show(args: argparse.Namespace, output: Output) -> int:
    """Show one module."""
    with administration(args) as admin:
        module = admin.get_module(args.name)
    facts = {
        "name": module["name"],
        "class": module["module"],
        "label": module["label"] or None,
        "args": json.dumps(module["args"], ensure_ascii=False, sort_keys=True),
        "python_path": ", ".join(module["python_path"]) or None,
    }
    output.facts(facts, module)
    return OK


def run_put(args: argparse.Namespace, output: Output) -> int:
    """Configure a module."""
    spec = {
        "module": args.module,
        "label": args.label,
        "args": args.args,
        "python_path": [os.path.abspath(entry) for entry in args.python_path],
    }
    with administration(args) as admin:
        is_new = admin.put_module(args.name, spec)
        module = admin.get_module(args.name)
    done = "configured new" if is_new else "changed"
    output.text(f"{done} module {args.name} ({args.module})", module)
    return OK


def run_delete(args: argparse.Namespace, output: Output) -> int:
    """Remove a module."""
    with administration(args) as admin:
        admin.delete_module(args.name)
    output.text(f"deleted module {args.name}", {"deleted": args.name})
    return OK
