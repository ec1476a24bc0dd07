"""What of a snapshot goes into a stream: its databases, and the objects that the base has not."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace

from modules.errors import IntegrityError, SnapshotNotFound
from zfsstore import layout
from zfsstore.volumes import directory_trees
from zfsstore.volumes.directory_stream import (
    BLOCK_BYTES,
    DATABASE,
    REMOVED,
    Header,
    format_member,
    format_stream,
)


def send(header: Header, path: str, base: str | None, *, subject: str) -> Iterator[bytes]:
    """Return the stream of the snapshot in directory *path*; nothing stays open between blocks
    but one file.

    Args:
        header: without what is counted here.
        base: directory of the snapshot that the receiver has.

    Raises:
        IntegrityError: a database has a name that cannot be sent.
    """
    state = f"{path}/{layout.STATE}"
    databases = {n: os.stat(f"{state}/{n}").st_size for n in directory_trees.databases_in(state)}
    for name in databases:
        if not DATABASE.fullmatch(name):
            raise IntegrityError(
                f"its database {name!r} has a name that cannot be sent",
                operation="send snapshot",
                subject=subject,
            )
    objects = total = removed = 0
    for leaf, added, gone in _changes(path, base):
        objects += len(added)
        removed += len(gone)
        total += sum(os.stat(f"{path}/{layout.OWN}/{leaf}/{name}").st_size for name in added)
    counted = replace(
        header, databases=databases, objects=objects, object_bytes=total, removed=removed
    )
    return format_stream(counted, _members(counted, path, base, subject))


def _members(header: Header, path: str, base: str | None, subject: str) -> Iterator[bytes]:
    try:
        for name, size in header.databases.items():
            file = f"{path}/{layout.STATE}/{name}"
            yield from format_member(f"state/{name}", size, _file(file, size))
        if base is not None:
            size = sum(len(line) for line in _removed(path, base))
            yield from format_member(REMOVED, size, _removed(path, base))
        for leaf, added, _gone in _changes(path, base):
            for name in added:
                file = f"{path}/{layout.OWN}/{leaf}/{name}"
                size = os.stat(file).st_size
                yield from format_member(f"{leaf}/{name}", size, _file(file, size))
    except FileNotFoundError as error:
        raise SnapshotNotFound(
            "it was deleted meanwhile", operation="send snapshot", subject=subject
        ) from error


def _changes(path: str, base: str | None) -> Iterator[tuple[str, list[str], list[str]]]:
    """Yield each leaf ("objects/main/ab"), what it has beyond the base, and what it lacks."""
    if base is None:
        for instance, leaf, names in directory_trees.objects_in(path):
            yield f"objects/{instance}/{leaf}", names, []
        return
    for leaf in _leaves(path, base):
        ours, theirs = (
            directory_trees.object_names(f"{snapshot}/{layout.OWN}/{leaf}")
            for snapshot in (path, base)
        )
        yield leaf, sorted(set(ours) - set(theirs)), sorted(set(theirs) - set(ours))


def _leaves(path: str, base: str) -> Iterator[str]:
    both = (os.listdir(f"{snapshot}/{layout.OBJECTS}") for snapshot in (path, base))
    for instance in sorted(set().union(*both)):
        if layout.INSTANCE.fullmatch(instance):
            yield from (f"objects/{instance}/{leaf}" for leaf in layout.LEAVES)


def _removed(path: str, base: str) -> Iterator[bytes]:
    for leaf, _added, gone in _changes(path, base):
        yield "".join(f"{leaf}/{name}\n" for name in gone).encode()


def _file(path: str, size: int) -> Iterator[bytes]:
    with open(path, "rb", buffering=0) as file:
        while size:
            block = file.read(min(size, BLOCK_BYTES))
            if not block:
                raise IntegrityError(
                    "a file became shorter", operation="send snapshot", subject=path
                )
            size -= len(block)
            yield block
