"""``zfsstore serve`` and ``zfsstore reload``."""

from __future__ import annotations

import argparse

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
    """Send SIGHUP to the server that holds the data folder."""
    from zfsstore.host.running import reload_workers

    process_id = reload_workers(load_config(args).data_dir)
    output.text(f"told process {process_id} to replace its workers", {"process_id": process_id})
    return OK
