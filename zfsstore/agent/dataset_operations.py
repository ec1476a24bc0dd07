"""What the agent can be asked for about pools and file systems; see operations.py."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from zfsstore.zfs import commands, listing, pool_commands
from zfsstore.zfs.snapshot_commands import destroy_argv


@dataclass(frozen=True, slots=True)
class Version:
    """Which version of ZFS is there."""

    def argv(self) -> list[str]:
        return commands.version_argv()


@dataclass(frozen=True, slots=True)
class PoolUsage:
    """Usage and health of pools."""

    pools: tuple[str, ...]

    def argv(self) -> list[str]:
        return pool_commands.list_argv(self.pools)


@dataclass(frozen=True, slots=True)
class PoolState:
    """State of pools."""

    pools: tuple[str, ...]
    as_json: bool

    def argv(self) -> list[str]:
        return pool_commands.status_argv(self.pools, as_json=self.as_json)


@dataclass(frozen=True, slots=True)
class ListNames:
    """Datasets, snapshots, bookmarks, with properties."""

    names: tuple[str, ...]
    properties: tuple[str, ...]
    types: tuple[str, ...]
    recursive: bool
    depth: int | None
    sort: tuple[str, ...]
    as_json: bool

    def argv(self) -> list[str]:
        return listing.list_argv(
            self.names,
            self.properties,
            types=self.types,
            recursive=self.recursive,
            depth=self.depth,
            sort=self.sort,
            as_json=self.as_json,
        )


@dataclass(frozen=True, slots=True)
class GetProperties:
    """Properties of file systems, with their sources."""

    datasets: tuple[str, ...]
    properties: tuple[str, ...]
    depth: int | None

    def argv(self) -> list[str]:
        return commands.get_argv(self.datasets, self.properties, depth=self.depth)


@dataclass(frozen=True, slots=True)
class Create:
    """A new file system."""

    dataset: str
    properties: Mapping[str, str]
    mount: bool

    def argv(self) -> list[str]:
        return commands.create_argv(self.dataset, self.properties, mount=self.mount)


@dataclass(frozen=True, slots=True)
class Destroy:
    """A dataset, snapshots of one (``D@a,b``) or a bookmark, for good."""

    name: str
    recursive: bool
    force: bool
    defer: bool
    dry_run: bool

    def argv(self) -> list[str]:
        return destroy_argv(
            self.name,
            recursive=self.recursive,
            force=self.force,
            defer=self.defer,
            dry_run=self.dry_run,
        )


@dataclass(frozen=True, slots=True)
class SetProperties:
    """Properties of a file system or a snapshot."""

    name: str
    properties: Mapping[str, str]

    def argv(self) -> list[str]:
        return commands.set_argv(self.name, self.properties)


@dataclass(frozen=True, slots=True)
class Inherit:
    """A property's own value is removed."""

    name: str
    property: str
    recursive: bool
    received: bool

    def argv(self) -> list[str]:
        return commands.inherit_argv(
            self.name, self.property, recursive=self.recursive, received=self.received
        )


@dataclass(frozen=True, slots=True)
class Rename:
    """A file system with all below it gets another name."""

    dataset: str
    new_name: str
    force: bool

    def argv(self) -> list[str]:
        return commands.rename_argv(self.dataset, self.new_name, force=self.force)


@dataclass(frozen=True, slots=True)
class Mount:
    """A file system is mounted."""

    dataset: str

    def argv(self) -> list[str]:
        return commands.mount_argv(self.dataset)


@dataclass(frozen=True, slots=True)
class Unmount:
    """A file system is unmounted, with those below it."""

    dataset: str
    force: bool

    def argv(self) -> list[str]:
        return commands.unmount_argv(self.dataset, force=self.force)


@dataclass(frozen=True, slots=True)
class LoadKey:
    """An encryption root is unlocked by a key that comes through a pipe."""

    dataset: str
    recursive: bool

    def argv(self) -> list[str]:
        return commands.load_key_argv(self.dataset, prompt=True, recursive=self.recursive)


@dataclass(frozen=True, slots=True)
class UnloadKey:
    """An encryption root is locked."""

    dataset: str
    recursive: bool

    def argv(self) -> list[str]:
        return commands.unload_key_argv(self.dataset, recursive=self.recursive)
