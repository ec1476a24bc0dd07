"""``zfs list``: one process for any number of datasets, as lines or as JSON.

Source: zfs-list(8).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from zfsstore.zfs.snapshot_commands import not_understood


@dataclass(frozen=True, slots=True)
class Listed:
    """One dataset, snapshot or bookmark, with the properties that were asked for."""

    name: str
    properties: Mapping[str, str]

    def value(self, name: str) -> str | None:
        """Return the property's value, None when it has none."""
        found = self.properties.get(name)
        return None if found in ("-", "none", "") else found

    def number(self, name: str) -> int | None:
        """Return a number, None when the property has none."""
        value = self.value(name)
        return int(value) if value is not None and value.isdigit() else None


def list_argv(
    names: Sequence[str],
    properties: Sequence[str],
    *,
    types: Sequence[str],
    recursive: bool = False,
    depth: int | None = None,
    sort: Sequence[str] = (),
    as_json: bool = False,
) -> list[str]:
    """Return the command that lists *names* and what lies below them.

    Args:
        names: datasets, snapshots, bookmarks; everything there is when empty.
        properties: columns, beside the name.
        types: filesystem, snapshot, volume, bookmark.
        recursive: all below each of *names*.
        depth: so many levels below each; the snapshots of a dataset are one level.
        sort: properties, the first counts most; "-" before one turns it round.
        as_json: from OpenZFS 2.3.
    """
    below = ["-r"] if recursive else []
    below += [] if depth is None else ["-d", str(depth)]
    order = [part for key in sort for part in (("-S", key[1:]) if key[:1] == "-" else ("-s", key))]
    return [
        *("zfs", "list", "-jp" if as_json else "-Hp", *below, "-t", ",".join(types), *order),
        *("-o", ",".join(("name", *properties)), *names),
    ]


def parse_list(stdout: str, properties: Sequence[str], *, argv: Sequence[str] = ()) -> list[Listed]:
    """Return what ``zfs list -Hp -o name,...`` printed, in its order.

    Raises:
        CommandFailed: a line has other columns than were asked for.
    """
    found = []
    for line in filter(None, stdout.split("\n")):
        name, *values = line.split("\t")
        if len(values) != len(properties):
            raise not_understood(line, argv)
        found.append(Listed(name, dict(zip(properties, values, strict=True))))
    return found


def parse_json_list(
    stdout: str, properties: Sequence[str], *, argv: Sequence[str] = ()
) -> list[Listed]:
    """Return what ``zfs list -jp -o name,...`` printed, in its order.

    Raises:
        CommandFailed: it is not such a document.
    """
    datasets = parse_document(stdout, "datasets", argv=argv)
    try:
        return [
            Listed(
                name,
                {
                    key: str(entry["properties"].get(key, {}).get("value", "-"))
                    for key in properties
                },
            )
            for name, entry in datasets.items()
        ]
    except (KeyError, TypeError, AttributeError) as error:
        raise not_understood(stdout, argv) from error


def parse_document(stdout: str, member: str, *, argv: Sequence[str]) -> dict[str, Any]:
    """Return the object *member* of a JSON document that zfs or zpool printed.

    Raises:
        CommandFailed: there is none.
    """
    try:
        found = json.loads(stdout or "{}").get(member, {})
    except (ValueError, AttributeError) as error:
        raise not_understood(stdout, argv) from error
    if not isinstance(found, dict):
        raise not_understood(stdout, argv)
    return found
