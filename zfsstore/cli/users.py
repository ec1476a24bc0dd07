"""``zfsstore user``: who may log in. Passwords never come from, or stay on, a command line."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modules.errors import InvalidArgument
from zfsstore.cli.output import Output
from zfsstore.cli.parsers import OK, Commands, Parser, add_command, add_group
from zfsstore.cli.session import administration

if TYPE_CHECKING:
    from zfsstore.host.catalog import User

_GENERATED = """\
Without --password-file a password is generated and printed once, on standard output; only its
hash is kept."""


def add_parser(commands: Commands) -> None:
    """Add the group."""
    group = add_group(
        commands,
        "user",
        "users: create, list, show, password, delete",
        "Users log in with HTTP Basic and see the data of their own tenant only.",
    )
    create = add_command(
        group,
        "create",
        run_create,
        summary="create a user, and the tenant when it is new",
        description=f"""\
Create a user of a tenant. A tenant that does not exist is created with --policy as its storage
module; for one that exists, --policy may be left out and must not differ.
{_GENERATED}""",
        example="zfsstore user create acme --policy default\n"
        "zfsstore user create bob --tenant acme --password-file /run/secrets/bob",
    )
    create.add_argument("name", metavar="NAME")
    create.add_argument("--policy", metavar="MODULE", help="storage module of a new tenant")
    create.add_argument("--tenant", metavar="TENANT", help="default: a tenant of the same name")
    create.add_argument(
        "--role", choices=("user", "administrator"), default="user", help="default: user"
    )
    _add_password_file(create)
    add_command(
        group,
        "list",
        run_list,
        summary="list all users",
        description="List all users by name, with tenant and role.",
        example="zfsstore user list",
    )
    show = add_command(
        group,
        "show",
        run_show,
        summary="show one user",
        description="Show one user; never the password or its hash.",
        example="zfsstore user show acme",
    )
    show.add_argument("name", metavar="NAME")
    password = add_command(
        group,
        "password",
        run_password,
        summary="set a new password",
        description=f"""\
Give a user a new password; the old one stops working at once.
{_GENERATED}""",
        example="zfsstore user password acme\npass show acme | zfsstore user password acme "
        "--password-file -",
    )
    password.add_argument("name", metavar="NAME")
    _add_password_file(password)
    delete = add_command(
        group,
        "delete",
        run_delete,
        summary="delete a user, never its data",
        description="""\
Delete a user, who can no longer log in. The tenant and its data stay. The last administrator
cannot be deleted.""",
        example="zfsstore user delete bob",
    )
    delete.add_argument("name", metavar="NAME")


def _add_password_file(parser: Parser) -> None:
    parser.add_argument(
        "--password-file",
        metavar="FILE",
        help="take the password from the first line of FILE, - for standard input",
    )


def user_to_dict(user: User) -> dict[str, Any]:
    """Return a user as JSON, without the password's hash."""
    return {"name": user.name, "tenant": user.tenant, "role": user.role.value}


def read_password(source: str | None) -> str | None:
    """Return the first line of a file or, for ``-``, of standard input; None for None.

    Raises:
        InvalidArgument: it cannot be read, or is empty.
    """
    if source is None:
        return None
    try:
        text = sys.stdin.read() if source == "-" else Path(source).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidArgument(
            getattr(error, "strerror", None) or str(error),
            operation="read the password from",
            subject=source,
            field="--password-file",
        ) from error
    password = text.splitlines()[0] if text else ""
    if not password:
        raise InvalidArgument(
            "its first line is empty",
            operation="read the password from",
            subject="standard input" if source == "-" else source,
            field="--password-file",
        )
    return password


def run_create(args: argparse.Namespace, output: Output) -> int:
    """Create a user, print a generated password."""
    password = read_password(args.password_file)
    with administration(args) as admin:
        user, generated = admin.create_user(
            args.name, tenant=args.tenant, policy=args.policy, role=args.role, password=password
        )
    _tell(output, f"created user {user.name} of tenant {user.tenant}", user, generated)
    return OK


def run_password(args: argparse.Namespace, output: Output) -> int:
    """Set a password, print it when it was generated."""
    password = read_password(args.password_file)
    with administration(args) as admin:
        user, generated = admin.set_password(args.name, password=password)
    _tell(output, f"changed the password of {user.name}", user, generated)
    return OK


def _tell(output: Output, done: str, user: User, generated: str | None) -> None:
    data = user_to_dict(user)
    if generated is None:
        output.text(done, data)
    else:
        note = "shown this once, only its hash is kept"
        output.text(f"{done}\npassword: {generated}  ({note})", {**data, "password": generated})


def run_list(args: argparse.Namespace, output: Output) -> int:
    """List users."""
    with administration(args) as admin:
        users = admin.list_users()
    output.table(
        ["USER", "TENANT", "ROLE"],
        [(user.name, user.tenant, user.role.value) for user in users],
        [user_to_dict(user) for user in users],
    )
    return OK


def run_show(args: argparse.Namespace, output: Output) -> int:
    """Show one user."""
    with administration(args) as admin:
        user = admin.get_user(args.name)
    output.facts(user_to_dict(user), user_to_dict(user))
    return OK


def run_delete(args: argparse.Namespace, output: Output) -> int:
    """Delete a user."""
    with administration(args) as admin:
        admin.delete_user(args.name)
    output.text(f"deleted user {args.name}", {"deleted": args.name})
    return OK
