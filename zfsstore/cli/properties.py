"""``zfsstore volume get``, ``set``, ``lock`` and ``unlock``: what ZFS does with a volume's data."""

from __future__ import annotations

import argparse
import shlex
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from modules.errors import InvalidArgument, NotSupported
from zfsstore.cli.confirmation import add_dry_run, done
from zfsstore.cli.output import Output
from zfsstore.cli.parsers import OK, Commands, add_command
from zfsstore.cli.session import services
from zfsstore.cli.targets import add_volume, backend_of

if TYPE_CHECKING:
    from modules.volume_properties import EncryptionBackend, EncryptionKey, PropertyBackend
    from zfsstore.host.services import Services


def add_commands(group: Commands) -> None:
    """Add the commands to the group ``volume``."""
    get = add_command(
        group,
        "get",
        run_get,
        summary="show a volume's properties",
        description="""\
Show a volume's properties, named and valued as in ZFS (sizes in bytes): those that can be set, and
what is known besides, such as compressratio and keystatus.""",
        example="zfsstore volume get acme compression recordsize",
    )
    add_volume(get)
    get.add_argument("names", metavar="PROPERTY", nargs="*", help="default: all")
    change = add_command(
        group,
        "set",
        run_set,
        summary="change a volume's properties",
        description="""\
Change properties of a volume, named and valued as in ZFS. Buckets inherit a tenant's, unless they
have their own. What is stored already stays as it is; most properties count for new data. Only
what cannot harm the store can be set.""",
        example="zfsstore volume set acme compression=zstd reservation=10G",
    )
    add_volume(change)
    change.add_argument(
        "properties",
        metavar="PROPERTY=VALUE",
        nargs="+",
        type=parse_property,
        help="such as compression=zstd",
    )
    add_dry_run(change)
    _add_locking(group)


def _add_locking(group: Commands) -> None:
    unlock = add_command(
        group,
        "unlock",
        run_unlock,
        summary="load an encrypted tenant's key",
        description="""\
Load the key of an encrypted tenant, so that it and its buckets can be used, as after a reboot.""",
        example="zfsstore volume unlock acme --key-file /run/keys/acme",
    )
    unlock.add_argument("volume", metavar="TENANT")
    add_key(unlock)
    add_dry_run(unlock)
    lock = add_command(
        group,
        "lock",
        run_lock,
        summary="forget an encrypted tenant's key",
        description="""\
Forget the key of an encrypted tenant: nobody can read or write it or its buckets until it is
unlocked; clients are told so (503). A running host is made to let go of it first.""",
        example="zfsstore volume lock acme",
    )
    lock.add_argument("volume", metavar="TENANT")
    add_dry_run(lock)


def add_key(parser: argparse.ArgumentParser) -> None:
    """Add the options that say where a key comes from; the key itself is on no command line."""
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--key-file", metavar="FILE", help="holds the key and nothing else")
    source.add_argument(
        "--key-command", metavar="COMMAND", help="prints the key; run without a shell"
    )
    parser.add_argument(
        "--key-format",
        choices=["raw", "hex", "passphrase"],
        default="raw",
        help="32 bytes (the default), 64 hexadecimal digits, or 8 to 512 bytes of text",
    )


def parse_property(text: str) -> tuple[str, str]:
    """Return name and value of ``compression=zstd``; the type of an argument."""
    name, equals, value = text.partition("=")
    if not (name and equals and value):
        raise argparse.ArgumentTypeError(f"{text!r} sets nothing; write compression=zstd")
    return name, value


def parse_key(args: argparse.Namespace) -> EncryptionKey | None:
    """Return where the key comes from, None when nothing was said.

    Raises:
        InvalidArgument: the command cannot be split into words.
    """
    from modules.volume_properties import EncryptionKey

    try:
        command = None if args.key_command is None else tuple(shlex.split(args.key_command))
    except ValueError as error:
        raise InvalidArgument(str(error), field="--key-command") from error
    if args.key_file is None and command is None:
        return None
    return EncryptionKey(file=args.key_file, command=command, format=args.key_format)


def property_backend(opened: Services, name: str, *, operation: str) -> PropertyBackend:
    """Return what keeps a volume, when its volumes have properties.

    Raises:
        NotSupported: they have none.
    """
    from modules.volume_properties import PropertyBackend

    backend = backend_of(opened, name)
    if isinstance(backend, PropertyBackend):
        return backend
    raise without("properties", name, operation)


def set_quota(opened: Services, name: str, size_bytes: int | None) -> None:
    """Change a volume's quota; None takes it away.

    Raises:
        InvalidArgument: more is in use.
        NotSupported: the module cannot take a quota away.
    """
    if size_bytes is not None:
        opened.volumes.resize(name, size_bytes)
        return
    set_properties(opened, name, {"quota": "none"})


def set_properties(opened: Services, name: str, properties: dict[str, str]) -> None:
    """Change a volume's properties.

    Raises:
        InvalidArgument: one cannot be set, or its value does not fit.
        NotSupported: the module's volumes have none.
    """
    backend = property_backend(opened, name, operation="set properties of")
    volume = backend.set_properties(opened.volumes.get_volume(name)["uuid"], properties)
    if "quota" in properties and "/" not in name:  # the catalog has it, too; the volume's counts
        tenant = opened.catalog.get_tenant(name)
        opened.catalog.set_tenant(replace(tenant, quota_bytes=volume["size_bytes"]))


def run_get(args: argparse.Namespace, output: Output) -> int:
    """Show properties."""
    with services(args) as opened:
        backend = property_backend(opened, args.volume, operation="get properties of")
        found = backend.get_properties(opened.volumes.get_volume(args.volume)["uuid"])
    unknown = [name for name in args.names if name not in found]
    if unknown:
        raise InvalidArgument(
            f"it has no property {unknown[0]!r}",
            operation="get properties of",
            subject=args.volume,
            hint=f"choose of {', '.join(found)}",
        )
    chosen = {name: found[name] for name in args.names or found}
    output.facts(chosen, chosen)
    return OK


def run_set(args: argparse.Namespace, output: Output) -> int:
    """Change properties."""
    from zfsstore.volumes.properties import check_chosen

    properties = check_chosen(dict(args.properties))
    with services(args) as opened:
        if args.dry_run:
            property_backend(opened, args.volume, operation="set properties of")
            opened.volumes.get_volume(args.volume)
        else:
            set_properties(opened, args.volume, properties)
    data = {"name": args.volume, "properties": properties, "dry_run": args.dry_run}
    verb = done(args, "set", "set")
    lines = [f"{verb} {name}={value} of {args.volume}" for name, value in properties.items()]
    output.text("\n".join(lines), data)
    return OK


def run_unlock(args: argparse.Namespace, output: Output) -> int:
    """Load a tenant's key."""
    key = parse_key(args)
    with services(args) as opened:
        backend = _encryption_backend(opened, args.volume, operation="unlock")
        uuid = opened.volumes.get_volume(args.volume)["uuid"]
        if not args.dry_run:
            backend.unlock_volume(uuid, key)
    return _tell(args, output, done(args, "unlock", "unlocked"))


def run_lock(args: argparse.Namespace, output: Output) -> int:
    """Forget a tenant's key."""
    with services(args) as opened:
        backend = _encryption_backend(opened, args.volume, operation="lock")
        uuid = opened.volumes.get_volume(args.volume)["uuid"]
        if not args.dry_run:
            backend.lock_volume(uuid)
    return _tell(args, output, done(args, "lock", "locked"))


def _tell(args: argparse.Namespace, output: Output, verb: str) -> int:
    data: dict[str, Any] = {"name": args.volume, "dry_run": args.dry_run}
    output.text(f"{verb} {args.volume}", data)
    return OK


def _encryption_backend(opened: Services, name: str, *, operation: str) -> EncryptionBackend:
    from modules.volume_properties import EncryptionBackend

    backend = backend_of(opened, name)
    if isinstance(backend, EncryptionBackend):
        return backend
    raise without("encryption", name, operation)


def without(capability: str, name: str, operation: str) -> NotSupported:
    """Return the error for a module that cannot do it."""
    return NotSupported(
        f"its storage module offers no {capability} of volumes",
        capability=capability,
        operation=operation,
        subject=name,
        hint="keep the tenant on ZFS",
    )
