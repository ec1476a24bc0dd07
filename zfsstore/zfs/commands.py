"""The argv of each zfs command that we run, and the parsing of what they print.

Names are checked before they get here (zfsstore.zfs.names); none can begin with "-".
Source: zfs-create(8), zfs-set(8) with get and inherit, zfs-rename(8), zfs-mount(8), zfs-share(8),
zfs-load-key(8).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote, unquote

from zfsstore.zfs.snapshot_commands import flags, not_understood, options


@dataclass(frozen=True, slots=True)
class Property:
    """A property's value, as text, and where it comes from ("local", "received", "default")."""

    value: str
    source: str

    @property
    def is_own(self) -> bool:
        """True when set on the dataset itself, not inherited from its parent."""
        return self.source in ("local", "received")


@dataclass(frozen=True, slots=True)
class Dataset:
    """One dataset with the properties that were asked for."""

    name: str
    properties: Mapping[str, Property]

    def value(self, name: str) -> str | None:
        """Return the property's value, None when it has none."""
        found = self.properties.get(name)
        return None if found is None or found.value in ("-", "none") else found.value

    def own(self, name: str) -> str | None:
        """Return the value set on the dataset itself, None when inherited or absent."""
        found = self.properties.get(name)
        return found.value if found is not None and found.is_own else None

    def number(self, name: str) -> int | None:
        """Return a number, None when absent, "none" or 0 (no quota)."""
        value = self.value(name)
        return int(value) or None if value is not None and value.isdigit() else None


def create_argv(
    dataset: str, properties: Mapping[str, str], *, parents: bool = False, mount: bool = True
) -> list[str]:
    """Return the command that creates a file system with *properties*."""
    chosen = flags(p=parents, u=not mount)
    return ["zfs", "create", *chosen, *options(properties), dataset]


def get_argv(
    datasets: Sequence[str], properties: Sequence[str], *, depth: int | None = None
) -> list[str]:
    """Return the command that reads properties of file systems, and *depth* levels below each."""
    below = [] if depth is None else ["-d", str(depth)]
    return [
        *("zfs", "get", "-Hp", *below, "-t", "filesystem", "-o", "name,property,value,source"),
        *(",".join(properties), *datasets),
    ]


def set_argv(dataset: str, properties: Mapping[str, str]) -> list[str]:
    """Return the command that sets all *properties*, in one transaction group."""
    return ["zfs", "set", *(f"{name}={value}" for name, value in properties.items()), dataset]


def inherit_argv(
    dataset: str, name: str, *, recursive: bool = False, received: bool = False
) -> list[str]:
    """Return the command that removes a property's own value."""
    return ["zfs", "inherit", *flags(r=recursive, S=received), name, dataset]


def rename_argv(
    dataset: str,
    new_name: str,
    *,
    parents: bool = False,
    force: bool = False,
    remount: bool = True,
) -> list[str]:
    """Return the command that renames a file system with all below it."""
    return ["zfs", "rename", *flags(p=parents, f=force, u=not remount), dataset, new_name]


def mount_argv(dataset: str) -> list[str]:
    """Return the command that mounts a file system."""
    return ["zfs", "mount", dataset]


def unmount_argv(dataset: str, *, force: bool = False) -> list[str]:
    """Return the command that unmounts a file system."""
    return ["zfs", "unmount", *flags(f=force), dataset]


def share_argv(dataset: str) -> list[str]:
    """Return the command that exports a file system."""
    return ["zfs", "share", dataset]


def unshare_argv(dataset: str) -> list[str]:
    """Return the command that takes back the export of a file system."""
    return ["zfs", "unshare", dataset]


def load_key_argv(dataset: str, *, prompt: bool, recursive: bool = False) -> list[str]:
    """Return the command that unlocks; with *prompt*, by a key on its standard input."""
    where = ["-L", "prompt"] if prompt else []
    return ["zfs", "load-key", *flags(r=recursive), *where, dataset]


def unload_key_argv(dataset: str, *, recursive: bool = False) -> list[str]:
    """Return the command that locks."""
    return ["zfs", "unload-key", *flags(r=recursive), dataset]


def version_argv() -> list[str]:
    """Return the command that prints the versions of ZFS."""
    return ["zfs", "version"]


def parse_get(stdout: str, *, argv: Sequence[str] = ()) -> list[Dataset]:
    """Return the datasets of ``zfs get -Hp -o name,property,value,source``, in its order.

    Raises:
        CommandFailed: a line has not these four columns.
    """
    found: dict[str, dict[str, Property]] = {}
    for line in stdout.split("\n"):
        if not line:
            continue
        columns = line.split("\t")
        if len(columns) != 4:
            raise not_understood(line, argv)
        name, key, value, source = columns
        found.setdefault(name, {})[key] = Property(value, source)
    return [Dataset(name, properties) for name, properties in found.items()]


def parse_version(stdout: str) -> tuple[int, int, int]:
    """Return the version of the zfs program: (2, 3, 2) for "zfs-2.3.2-1~bpo12+2".

    Raises:
        CommandFailed: there is no version in the first line.
    """
    first = stdout.split("\n", 1)[0].removeprefix("zfs-")
    found = re.match(r"(\d+)\.(\d+)(?:\.(\d+))?", first)
    if found is None:
        raise not_understood(first, version_argv())
    return int(found[1]), int(found[2]), int(found[3] or 0)


def format_text_property(text: str) -> str:
    """Return *text* as a property value: printable ASCII on one line, never taken for "none".

    ``zfs list -j`` of 2.3 breaks off at the first character that is not ASCII.
    """
    escaped = "".join(
        character if " " <= character <= "~" and character != "%" else quote(character, safe="")
        for character in text
    )
    return "%2D" if escaped == "-" else escaped


def parse_text_property(value: str) -> str:
    """Return the text that :func:`format_text_property` was given."""
    return unquote(value, errors="replace")
