"""``zfsstore serve`` and ``zfsstore reload``."""

from __future__ import annotations

import argparse
from pathlib import Path

from modules.errors import NotFound
from zfsstore.cli.output import Output
from zfsstore.cli.parsers import OK, Commands, add_command
from zfsstore.cli.session import load_config


def add_parser(commands: Commands) -> None:
    """Add both commands."""
    serve = add_command(
        commands,
        "serve",
        run_serve,
        summary="start the host and stay until stopped",
        description="""\
Serve the data folder over HTTP until SIGTERM or Ctrl-C; requests under way are finished.
A new data folder gets the storage module "default" (plain directories below it) and the
user "administrator", whose password is written to DIR/administrator.password (mode 0600)
and never printed. Settings on the command line win over those of --config.""",
        example="zfsstore --data /srv/zfsstore serve --listen 127.0.0.1:8080\n"
        "zfsstore --config /etc/zfsstore.toml serve",
    )
    serve.add_argument("--listen", metavar="ADDRESS", help="address:port, or unix:/path/of.sock")
    serve.add_argument("--workers", type=int, metavar="N", help="processes")
    serve.add_argument("--threads", type=int, metavar="N", help="requests at once, per process")
    add_command(
        commands,
        "reload",
        run_reload,
        summary="start new workers, let the old ones finish",
        description="""\
Tell a running host to replace its workers, so that changed code on a module's python-path is
loaded. No request is cut off: old workers finish what they do. Only sends the signal; the
host's log says when the new workers are up.""",
        example="zfsstore --data /srv/zfsstore reload",
    )


def run_serve(args: argparse.Namespace, output: Output) -> int:
    """Serve until stopped."""
    from zfsstore.host.server import serve

    config = load_config(args, listen=args.listen, workers=args.workers, threads=args.threads)
    return serve(config)


def run_reload(args: argparse.Namespace, output: Output) -> int:
    """Send SIGHUP to the server whose pid file lies in the data folder."""
    from zfsstore.host.server import reload_workers

    config = load_config(args)
    require_server(config.pid_file)
    process_id = reload_workers(config)
    output.text(f"told process {process_id} to replace its workers", {"process_id": process_id})
    return OK


def require_server(pid_file: Path) -> None:
    """Refuse to signal a process that is no server.

    A server that was killed leaves its pid file, and its number may be another program's by now.

    Raises:
        NotFound: no pid file, or no server runs under its number.
    """
    try:
        process_id = int(pid_file.read_text(encoding="ascii"))
        command = Path(f"/proc/{process_id}/cmdline").read_bytes()
    except (OSError, ValueError):
        command = b""
    if b"zfsstore" not in command:
        raise NotFound(
            "no server runs on this data folder",
            operation="reload workers of",
            subject=str(pid_file.parent),
            hint="check --data, or start it with `zfsstore serve`",
        )
