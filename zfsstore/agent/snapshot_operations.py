"""What the agent can be asked for about snapshots, clones and streams; see operations.py."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from zfsstore.zfs import snapshot_commands as commands
from zfsstore.zfs import stream_commands
from zfsstore.zfs.stream_commands import SendFlags


@dataclass(frozen=True, slots=True)
class RenameSnapshot:
    """A snapshot gets another name; both are full names."""

    snapshot: str
    new_name: str
    recursive: bool

    def argv(self) -> list[str]:
        return commands.rename_snapshot_argv(self.snapshot, self.new_name, recursive=self.recursive)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Snapshots, all in one transaction group."""

    snapshots: tuple[str, ...]
    properties: Mapping[str, str]
    recursive: bool

    def argv(self) -> list[str]:
        return commands.snapshot_argv(self.snapshots, self.properties, recursive=self.recursive)


@dataclass(frozen=True, slots=True)
class Clone:
    """A snapshot becomes a writable file system."""

    snapshot: str
    dataset: str
    properties: Mapping[str, str]

    def argv(self) -> list[str]:
        return commands.clone_argv(self.snapshot, self.dataset, self.properties)


@dataclass(frozen=True, slots=True)
class Promote:
    """A clone becomes independent of its origin."""

    dataset: str

    def argv(self) -> list[str]:
        return commands.promote_argv(self.dataset)


@dataclass(frozen=True, slots=True)
class Rollback:
    """A file system becomes what it was at a snapshot."""

    snapshot: str
    destroy_newer: bool
    force: bool

    def argv(self) -> list[str]:
        return commands.rollback_argv(
            self.snapshot, destroy_newer=self.destroy_newer, force=self.force
        )


@dataclass(frozen=True, slots=True)
class Hold:
    """A tag keeps snapshots from being destroyed."""

    tag: str
    snapshots: tuple[str, ...]
    recursive: bool

    def argv(self) -> list[str]:
        return commands.hold_argv(self.tag, self.snapshots, recursive=self.recursive)


@dataclass(frozen=True, slots=True)
class Release:
    """A tag is taken off commands."""

    tag: str
    snapshots: tuple[str, ...]
    recursive: bool

    def argv(self) -> list[str]:
        return commands.release_argv(self.tag, self.snapshots, recursive=self.recursive)


@dataclass(frozen=True, slots=True)
class ListHolds:
    """The holds of commands."""

    snapshots: tuple[str, ...]
    recursive: bool
    exact: bool

    def argv(self) -> list[str]:
        return commands.holds_argv(self.snapshots, recursive=self.recursive, exact=self.exact)


@dataclass(frozen=True, slots=True)
class Bookmark:
    """A bookmark of a snapshot, or a copy of one."""

    source: str
    bookmark: str

    def argv(self) -> list[str]:
        return commands.bookmark_argv(self.source, self.bookmark)


@dataclass(frozen=True, slots=True)
class Send:
    """A snapshot as a stream, or the plan of it."""

    snapshot: str
    base: str | None
    intermediates: bool
    flags: SendFlags
    dry_run: bool

    def argv(self) -> list[str]:
        return stream_commands.send_argv(
            self.snapshot,
            base=self.base,
            intermediates=self.intermediates,
            chosen=self.flags,
            dry_run=self.dry_run,
        )


@dataclass(frozen=True, slots=True)
class ResumeSend:
    """The rest of a stream, as a receiver's token says, or the plan of it."""

    token: str
    dry_run: bool

    def argv(self) -> list[str]:
        return stream_commands.resume_argv(self.token, dry_run=self.dry_run)


@dataclass(frozen=True, slots=True)
class Receive:
    """A stream becomes a file system, or a snapshot of one."""

    dataset: str
    resumable: bool
    mount: bool
    rollback: bool
    properties: Mapping[str, str]
    exclude: tuple[str, ...] = ()

    def argv(self) -> list[str]:
        return stream_commands.receive_argv(
            self.dataset,
            resumable=self.resumable,
            mount=self.mount,
            rollback=self.rollback,
            properties=self.properties,
            exclude=self.exclude,
        )


@dataclass(frozen=True, slots=True)
class AbortReceive:
    """What a resumable receive has kept is thrown away."""

    dataset: str

    def argv(self) -> list[str]:
        return stream_commands.abort_argv(self.dataset)
