"""The argv of send and receive, and what their dry runs print.

Names are checked before they get here. Source: zfs-send(8), zfs-receive(8).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from modules.errors import InvalidArgument
from zfsstore.zfs.snapshot_commands import flags, not_understood, options

_TOKEN: Final = re.compile(r"[0-9]+-[0-9a-f]+-[0-9a-f]+-[0-9a-f]+")


@dataclass(frozen=True, slots=True)
class SendFlags:
    """What a stream is to hold, and how.

    ``raw`` sends encrypted blocks as they are, without the key; ``compressed``, ``large_blocks``
    and ``embedded`` send blocks as they lie on disk, and the receiver must know these features.
    ``properties`` includes the dataset's; ``replicate`` everything below it, too.
    """

    raw: bool = False
    compressed: bool = False
    large_blocks: bool = False
    embedded: bool = False
    properties: bool = False
    replicate: bool = False

    def argv(self) -> list[str]:
        """Return them as options of ``zfs send``."""
        return flags(
            w=self.raw,
            c=self.compressed,
            L=self.large_blocks,
            e=self.embedded,
            p=self.properties,
            R=self.replicate,
        )


@dataclass(frozen=True, slots=True)
class SendStep:
    """One snapshot in a stream: with all its data when *base* is None."""

    snapshot: str
    base: str | None
    size_bytes: int


@dataclass(frozen=True, slots=True)
class SendPlan:
    """What a stream would hold. Sizes are estimates."""

    steps: tuple[SendStep, ...]
    size_bytes: int


@dataclass(frozen=True, slots=True)
class ResumeToken:
    """What a token of a partial receive stands for, and what is left of its stream."""

    snapshot: str
    snapshot_guid: int
    received_bytes: int
    plan: SendPlan


def send_argv(
    snapshot: str,
    *,
    base: str | None = None,
    intermediates: bool = False,
    chosen: SendFlags = SendFlags(),
    dry_run: bool = False,
) -> list[str]:
    """Return the command that prints *snapshot* as a stream; with *dry_run*, its plan."""
    since = [] if base is None else ["-I" if intermediates else "-i", base]
    return ["zfs", "send", *(["-nvP"] if dry_run else []), *chosen.argv(), *since, snapshot]


def resume_argv(token: str, *, dry_run: bool = False) -> list[str]:
    """Return the command that prints the rest of a stream; with *dry_run*, its plan."""
    return ["zfs", "send", *(["-nvP"] if dry_run else []), "-t", token]


def receive_argv(
    dataset: str,
    *,
    resumable: bool = False,
    mount: bool = False,
    rollback: bool = False,
    properties: Mapping[str, str],
    exclude: Iterable[str] = (),
) -> list[str]:
    """Return the command that takes a stream on its standard input."""
    left_out = [part for name in exclude for part in ("-x", name)]
    chosen = flags(s=resumable, u=not mount, F=rollback)
    return ["zfs", "receive", *chosen, *options(properties), *left_out, dataset]


def abort_argv(dataset: str) -> list[str]:
    """Return the command that throws a partial receive away."""
    return ["zfs", "receive", "-A", dataset]


def check_token(token: str) -> str:
    """Return *token* when it is written like one, so that nothing else reaches a command.

    Raises:
        InvalidArgument: it is not.
    """
    if not isinstance(token, str) or _TOKEN.fullmatch(token) is None:
        raise InvalidArgument(
            "it is no resume token",
            field="token",
            operation="resume send",
            subject=f"{token!r:.60}",
            hint="take the receive_resume_token of the destination as it is",
        )
    return token


def parse_send_plan(stdout: str, *, argv: Sequence[str] = ()) -> SendPlan:
    """Return the plan that ``zfs send -nvP`` printed.

    Raises:
        CommandFailed: it is none.
    """
    steps = []
    total: int | None = None
    for line in stdout.split("\n"):
        match line.split("\t"):
            case ["full", snapshot, size] if size.isdigit():
                steps.append(SendStep(snapshot, None, int(size)))
            case ["incremental", base, snapshot, size] if size.isdigit():
                steps.append(SendStep(snapshot, base, int(size)))
            case ["size", size] if size.isdigit():
                total = int(size)
    if total is None:
        raise not_understood(stdout, argv)
    return SendPlan(tuple(steps), total)


def parse_token(stdout: str, *, argv: Sequence[str] = ()) -> ResumeToken:
    """Return what ``zfs send -nvP -t TOKEN`` printed.

    Raises:
        CommandFailed: it is not understood.
    """
    contents = dict(re.findall(r"^\t(\w+) = (.+)$", stdout, re.MULTILINE))
    try:
        return ResumeToken(
            snapshot=contents["toname"],
            snapshot_guid=int(contents["toguid"], 16),
            received_bytes=int(contents["bytes"], 16),
            plan=parse_send_plan(stdout, argv=argv),
        )
    except (KeyError, ValueError) as error:
        raise not_understood(stdout, argv) from error
