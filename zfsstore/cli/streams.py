"""``zfsstore volume send`` and ``volume receive``: snapshots to other stores, and to files."""

from __future__ import annotations

import argparse
import inspect
import os
import sys
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol, runtime_checkable

from modules.errors import InvalidArgument, NotSupported
from modules.streams import SupportsRead
from modules.volumes import ReplicationBackend, Volume
from zfsstore.cli.confirmation import add_dry_run, add_yes, confirm, done
from zfsstore.cli.output import Output, format_size
from zfsstore.cli.parsers import OK, Commands, add_command
from zfsstore.cli.progress import CountedReader, Progress, add_progress
from zfsstore.cli.session import services
from zfsstore.cli.targets import (
    SnapshotName,
    add_snapshot,
    add_volume,
    backend_of,
    find_snapshot,
    require_free,
)

if TYPE_CHECKING:
    from zfsstore.host.services import Services

CHUNK_BYTES = 1024 * 1024


@runtime_checkable
class _Replicas(ReplicationBackend, Protocol):
    """What keeps received volumes as they were sent until they are broken off."""

    def receive_stream(
        self,
        destination: str,
        stream: SupportsRead,
        *,
        read_only: bool = True,
        rollback: bool = False,
    ) -> int: ...

    def break_off_volume(self, uuid: str) -> Volume: ...


def add_commands(group: Commands) -> None:
    """Add both commands."""
    send = add_command(
        group,
        "send",
        run_send,
        summary="write a snapshot to standard output",
        description="""\
Write one volume's snapshot, or with --base only what changed since an older one, as a stream to
standard output, for `zfsstore volume receive` here or on another machine. A tenant's volume does
not hold its buckets: send each. How far it is stands on stderr at a terminal, and so does the
result, also with --json. A stream that ends with an error is incomplete: throw it away.""",
        example="zfsstore volume send acme/photos@monday > photos.stream\n"
        "zfsstore volume send acme/photos@tuesday --base monday > photos-tuesday.stream",
    )
    add_snapshot(send)
    send.add_argument("--base", metavar="SNAPSHOT", help="an older one that the receiver has")
    send.add_argument("--raw", action="store_true", help="encrypted blocks as they are (ZFS)")
    add_progress(send)
    add_dry_run(send)
    _add_receiving(group)


def _add_receiving(group: Commands) -> None:
    receive = add_command(
        group,
        "receive",
        run_receive,
        summary="make, or update, a bucket from standard input",
        description="""\
Read a stream of `zfsstore volume send` from standard input. A whole one becomes a new bucket, one
with a base updates the bucket that has the base and was not changed since. A stream that breaks
off changes nothing. What is received is read-only, so that the next stream fits it, until
`zfsstore volume break-off`.""",
        example="zfsstore volume receive acme/copy < photos.stream",
    )
    add_volume(receive, text="a bucket of a tenant that exists, as in acme/copy")
    receive.add_argument("--writable", action="store_true", help="break a new bucket off at once")
    receive.add_argument(
        "--rollback",
        action="store_true",
        help="throw away what was changed since the base; needs --yes",
    )
    add_progress(receive)
    add_yes(receive)
    add_dry_run(receive)
    break_off = add_command(
        group,
        "break-off",
        run_break_off,
        summary="let a received bucket be written to",
        description="""\
Let a received bucket be written to, as when the machine it came from is lost. Later streams of its
origin do not fit it then.""",
        example="zfsstore volume break-off acme/copy",
    )
    add_volume(break_off, text="a received bucket, as in acme/copy")
    add_dry_run(break_off)


def run_send(args: argparse.Namespace, output: Output) -> int:
    """Write a snapshot's stream to standard output."""
    name: SnapshotName = args.snapshot
    if not args.dry_run and sys.stdout.isatty():
        raise InvalidArgument(
            "the stream is binary and standard output is a terminal",
            operation="send snapshot",
            subject=str(name),
            hint="write it to a file or a pipe, as in `... > FILE`",
        )
    progress = Progress(is_wanted=args.progress)
    with services(args) as opened:
        find_snapshot(opened, name, operation="send snapshot")
        if args.base:
            base = SnapshotName(name.volume, args.base)
            find_snapshot(opened, base, operation="send snapshot from base")
        backend = _replication(opened, name.volume)
        raw = _raw(backend, name) if args.raw else {}
        if not args.dry_run:
            stream = backend.send_stream(name.volume, name.snapshot, args.base, **raw)
            with closing(stream):
                _pump(CountedReader(stream, progress), sys.stdout.buffer)
            progress.finish()
    data: dict[str, Any] = {"snapshot": str(name), "base": args.base, "dry_run": args.dry_run}
    since = f" since {args.base}" if args.base else ""
    if args.dry_run:
        output.text(f"would send {name}{since}", data)
    else:
        told = Output(as_json=output.as_json, stream=sys.stderr)
        size = progress.total_bytes
        told.text(f"sent {name}{since}, {format_size(size)}", data | {"bytes": size})
    return OK


def run_receive(args: argparse.Namespace, output: Output) -> int:
    """Read a stream from standard input into a bucket."""
    if "/" not in args.volume:
        raise InvalidArgument(
            "it names a tenant, not a bucket",
            operation="receive volume",
            subject=args.volume,
            hint="create the tenant, then receive TENANT/BUCKET",
        )
    if not args.dry_run and sys.stdin.isatty():
        raise InvalidArgument(
            "standard input is a terminal",
            operation="receive volume",
            subject=args.volume,
            hint="read the stream from a file or a pipe, as in `... < FILE`",
        )
    progress = Progress(is_wanted=args.progress)
    with services(args) as opened:
        backend = _replication(opened, args.volume)
        is_new = all(row["name"] != args.volume for row in backend.list_volumes())
        if is_new:
            require_free(opened, args.volume, like=args.volume, operation="receive volume")
        if args.rollback and not args.dry_run:
            confirm(args, args.volume, operation="roll back and receive volume", plan=())
        if not args.dry_run:
            source = CountedReader(sys.stdin.buffer, progress)
            backend.receive_stream(
                args.volume, source, read_only=not args.writable, rollback=args.rollback
            )
            progress.finish()
    what = "make" if is_new else "update"
    data = {
        "name": args.volume,
        "created": is_new,
        "bytes": progress.total_bytes,
        "dry_run": args.dry_run,
    }
    size = format_size(progress.total_bytes)
    text = f"would {what} {args.volume}" if args.dry_run else f"received {args.volume}, {size}"
    output.text(text, data)
    return OK


def run_break_off(args: argparse.Namespace, output: Output) -> int:
    """Let a received bucket be written to."""
    with services(args) as opened:
        backend = _replication(opened, args.volume)
        volume = opened.volumes.get_volume(args.volume)
        if volume["vol_type"] != "dp":
            raise InvalidArgument(
                "it can be written to", operation="break off volume", subject=args.volume
            )
        if not args.dry_run:
            backend.break_off_volume(volume["uuid"])
    data = {"name": args.volume, "dry_run": args.dry_run}
    output.text(f"{done(args, 'break off', 'broke off')} {args.volume}", data)
    return OK


def _replication(opened: Services, name: str) -> _Replicas:
    backend = backend_of(opened, name)
    if isinstance(backend, _Replicas) and backend.capabilities()["replication"]:
        return backend
    raise _cannot("sends and receives no streams", name)


def _raw(backend: ReplicationBackend, name: SnapshotName) -> dict[str, bool]:
    """Return the argument for a raw stream.

    Raises:
        NotSupported: the backend encrypts nothing.
    """
    if "raw" in inspect.signature(backend.send_stream).parameters:
        return {"raw": True}
    raise _cannot("sends no raw streams, it encrypts nothing", str(name))


def _cannot(what: str, name: str) -> NotSupported:
    return NotSupported(
        f"its storage module {what}",
        capability="replication",
        operation="send or receive volume",
        subject=name,
    )


def _pump(source: CountedReader, sink: BinaryIO) -> None:
    """Write all of *source*; on stable storage on return when the sink is a file."""
    while data := source.read(CHUNK_BYTES):
        sink.write(data)
    sink.flush()
    with suppress(OSError):  # a pipe
        os.fsync(sink.fileno())
