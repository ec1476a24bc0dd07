"""The program zfsstore-agent."""

from __future__ import annotations

import argparse
import grp
import logging
import os
import pwd
import signal
import socket
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from modules.errors import ConfigurationError, StorageError
from zfsstore.agent.audit import Sink, file_lines
from zfsstore.agent.exporting import Exporter
from zfsstore.agent.mounting import Failed, Mounter, Owner
from zfsstore.agent.protocol import DEFAULT_SOCKET
from zfsstore.agent.scope import Scope, is_within
from zfsstore.agent.server import Access, AgentServer
from zfsstore.agent.worker import Worker
from zfsstore.exports import DEFAULT_DIRECTORY
from zfsstore.zfs.names import check_dataset_name
from zfsstore.zfs.runner import TIMEOUT_S, LocalRunner

_LISTEN_FD: Final = 3  # sd_listen_fds(3)
_BACKLOG: Final = 128

_log = logging.getLogger(__name__)

_EPILOG: Final = """\
The agent does for the host what only root may do: create, mount, rename, snapshot, clone, send and
receive datasets. It listens on a Unix socket, asks the kernel who is at the other end, and does
nothing above --root. systemd starts it with the socket open (zfsstore-agent.socket); by hand, give
--socket.

  zfsstore-agent --root tank/objects --user zfsstore

The host's side is the argument "agent" of its storage module:

  {"dataset": "tank/objects", "agent": "/run/zfsstore/agent.sock"}

Every request is one line of JSON on standard error, or in --audit. Exit status: 0 after SIGTERM,
2 for a mistake in the arguments, 1 when it cannot start.
"""


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    made = argparse.ArgumentParser(
        prog="zfsstore-agent",
        description="Run zfs as root for an unprivileged zfsstore host.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument(
        "--root",
        action="append",
        required=True,
        metavar="DATASET",
        help="an existing, mounted dataset; everything below it is the agent's. May be repeated",
    )
    _add_users(made)
    made.add_argument(
        "--socket",
        metavar="PATH",
        help=f"listen there instead of on systemd's socket; as in {DEFAULT_SOCKET}",
    )
    made.add_argument("--audit", metavar="FILE", help="append the audit log to FILE, mode 0600")
    made.add_argument(
        "--exports-dir",
        default=DEFAULT_DIRECTORY,
        metavar="DIR",
        help="where exportfs reads files (default %(default)s)",
    )
    made.add_argument(
        "--timeout",
        type=float,
        default=TIMEOUT_S,
        metavar="SECONDS",
        help="longest run of a command that does not stream (default %(default)g)",
    )
    return made


def _add_users(made: argparse.ArgumentParser) -> None:
    made.add_argument(
        "--user",
        required=True,
        metavar="USER",
        help="the host's user (name or number): may ask, and owns new volumes",
    )
    made.add_argument(
        "--allow-user",
        action="append",
        default=[],
        metavar="USER",
        help="may ask, too; root always may. May be repeated",
    )
    made.add_argument(
        "--allow-group",
        action="append",
        default=[],
        metavar="GROUP",
        help="whose members may ask, too. May be repeated",
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run the agent until SIGTERM; return the exit status."""
    arguments = parser().parse_args(argv)
    logging.basicConfig(format="zfsstore-agent: %(message)s", level=logging.INFO)
    try:
        if os.geteuid() != 0:
            raise ConfigurationError(
                "only root can mount file systems on Linux",
                operation="start",
                subject="zfsstore-agent",
                hint="start it by systemd (docs/agent.md), or as root",
            )
        serve(arguments)
    except (StorageError, Failed, OSError) as error:
        print(f"zfsstore-agent: {str(error).rstrip()}", file=sys.stderr)
        return 2 if isinstance(error, ConfigurationError) else 1
    return 0


def serve(arguments: argparse.Namespace) -> None:
    """Serve with the options of the command line until SIGTERM or SIGINT.

    Raises:
        ConfigurationError: an option is wrong.
        Failed: a root cannot be asked for.
        OSError: the socket cannot be had.
    """
    scope = Scope(check_roots(arguments.root))
    user = find_user(arguments.user)
    runner = LocalRunner(timeout_s=arguments.timeout)
    mounter = Mounter(scope, runner, Owner(user.pw_uid, user.pw_gid))
    exporter = Exporter(scope, mounter, runner, arguments.exports_dir)
    access = Access(
        frozenset({user.pw_uid, *(find_user(name).pw_uid for name in arguments.allow_user)}),
        frozenset(find_group(name) for name in arguments.allow_group),
    )
    listener = inherited_socket() or bound_socket(arguments.socket, user.pw_gid)
    server = AgentServer(
        listener,
        access=access,
        scope=scope,
        worker=Worker(scope, runner, mounter, exporter),
        sink=file_lines(arguments.audit) if arguments.audit else _stderr_lines(),
        timeout_s=arguments.timeout,
    )
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: server.stop())
    mounter.take_over()
    tell_systemd("READY=1")
    _log.info("works below %s for user %s", ", ".join(scope.roots), user.pw_name)
    try:
        server.serve()
    finally:
        if arguments.socket is not None:
            with suppress(FileNotFoundError):
                os.unlink(arguments.socket)


def check_roots(names: Sequence[str]) -> tuple[str, ...]:
    """Return the roots, each a valid dataset and none within another.

    Raises:
        ConfigurationError, InvalidName: they are not.
    """
    roots = tuple(check_dataset_name(name, field="root") for name in names)
    for root in roots:
        if sum(is_within(root, other) for other in roots) > 1:
            raise ConfigurationError(f"{root} is within another root", field="root")
    return roots


def find_user(name: str) -> pwd.struct_passwd:
    """Return the user of that name or number.

    Raises:
        ConfigurationError: there is none.
    """
    try:
        return pwd.getpwuid(int(name)) if name.isdigit() else pwd.getpwnam(name)
    except KeyError as error:
        raise ConfigurationError(f"there is no user {name}", field="user") from error


def find_group(name: str) -> int:
    """Return the number of a group.

    Raises:
        ConfigurationError: there is none.
    """
    try:
        return (grp.getgrgid(int(name)) if name.isdigit() else grp.getgrnam(name)).gr_gid
    except KeyError as error:
        raise ConfigurationError(f"there is no group {name}", field="allow-group") from error


def inherited_socket() -> socket.socket | None:
    """Return the socket that systemd has opened, None when there is none.

    Raises:
        ConfigurationError: there are several, or it is no listening Unix stream socket.

    Source: sd_listen_fds(3).
    """
    if os.environ.get("LISTEN_PID") != str(os.getpid()):
        return None
    passed = socket.socket(fileno=_LISTEN_FD)
    os.set_inheritable(_LISTEN_FD, False)
    is_listening = passed.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    is_right = passed.family == socket.AF_UNIX and passed.type == socket.SOCK_STREAM
    if os.environ.get("LISTEN_FDS") != "1" or not is_right or not is_listening:
        raise ConfigurationError("systemd must pass one Unix stream socket", field="LISTEN_FDS")
    return passed


def tell_systemd(state: str) -> None:
    """Tell systemd, if it waits for that. Source: sd_notify(3)."""
    path = os.environ.get("NOTIFY_SOCKET")
    if path:
        address = f"\0{path[1:]}" if path.startswith("@") else path
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as teller:
            teller.connect(address)
            teller.sendall(state.encode())


def bound_socket(path: str | None, gid: int) -> socket.socket:
    """Return a new socket at *path*, for root and a group; one that a dead agent left goes.

    Raises:
        ConfigurationError: no path, or an agent answers there already.
        OSError: it cannot be created.
    """
    if path is None:
        raise ConfigurationError(
            "there is no socket to listen on",
            operation="start",
            subject="zfsstore-agent",
            hint=f"start zfsstore-agent.socket, or give --socket {DEFAULT_SOCKET}",
        )
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe, suppress(OSError):
        probe.connect(path)
        raise ConfigurationError(f"another agent listens on {path}", field="socket")
    if Path(path).is_socket():
        os.unlink(path)
    before = os.umask(0o117)
    try:
        made.bind(path)
    finally:
        os.umask(before)
    os.chown(path, 0, gid)
    made.listen(_BACKLOG)
    return made


def _stderr_lines() -> Sink:
    def write(line: str) -> None:
        sys.stderr.write(f"{line}\n")
        sys.stderr.flush()

    return write
