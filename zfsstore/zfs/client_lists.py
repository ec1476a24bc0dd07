"""The client's calls that list: datasets, snapshots, bookmarks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, Protocol

from modules.errors import CommandFailed, InvalidArgument
from zfsstore.zfs import listing
from zfsstore.zfs.client_base import JSON_SINCE, CommandClient, several
from zfsstore.zfs.listing import Listed
from zfsstore.zfs.names import check_any_name, check_dataset_name
from zfsstore.zfs.properties import check_property_names
from zfsstore.zfs.snapshot_commands import not_understood

_TYPES: Final = frozenset({"filesystem", "snapshot", "volume", "bookmark"})
_TRIES: Final = 3


class ListCalls(CommandClient):
    """Lists, as JSON where the installed ZFS has it."""

    def list_datasets(
        self,
        names: Sequence[str] = (),
        properties: Sequence[str] = (),
        *,
        types: Iterable[str] = ("filesystem",),
        recursive: bool = False,
        depth: int | None = None,
        sort: Sequence[str] = (),
    ) -> list[Listed]:
        """Return datasets, snapshots or bookmarks with *properties*; one command for any number.

        Args:
            names: of any type; everything that is imported when empty.
            properties: their exact values, sizes in bytes and times in seconds.
            types: which to return: filesystem, snapshot, volume, bookmark.
            recursive: with all below each of *names*.
            depth: with so many levels below each; its snapshots are one level below a dataset.
            sort: properties, the first counts most; "-" before one turns it round. By name when
                empty, and snapshots from old to new.

        Raises:
            NotFound: one of *names* does not exist.
        """
        for name in names:
            check_any_name(name, field="names")
        chosen = _checked_types(types)
        check_property_names(properties)
        check_property_names(key.removeprefix("-") for key in sort)

        def run(columns: Sequence[str], *, as_json: bool) -> str:
            argv = listing.list_argv(
                names,
                columns,
                types=chosen,
                recursive=recursive,
                depth=depth,
                sort=sort,
                as_json=as_json,
            )
            return self._run(argv, "list", several(names) if names else "datasets")

        if not self._has(JSON_SINCE):
            return listing.parse_list(run(properties, as_json=False), properties)
        stdout = run(properties, as_json=True)
        try:
            return listing.parse_json_list(stdout, properties)
        except CommandFailed:
            return _exact_lines(run, properties)

    def list_snapshots(
        self, dataset: str, properties: Sequence[str] = (), *, recursive: bool = False
    ) -> list[Listed]:
        """Return the snapshots of a dataset, of it alone unless *recursive*, old to new."""
        check_dataset_name(dataset)
        depth = None if recursive else 1
        return self.list_datasets(
            [dataset],
            properties,
            types=("snapshot",),
            recursive=recursive,
            depth=depth,
            sort=("createtxg",),
        )

    def list_bookmarks(self, dataset: str, properties: Sequence[str] = ()) -> list[Listed]:
        """Return the bookmarks of a dataset, of it alone, old to new."""
        check_dataset_name(dataset)
        return self.list_datasets(
            [dataset], properties, types=("bookmark",), depth=1, sort=("createtxg",)
        )


class _Run(Protocol):
    def __call__(self, columns: Sequence[str], /, *, as_json: bool) -> str: ...


def _exact_lines(run: _Run, properties: Sequence[str]) -> list[Listed]:
    """Return the list as lines where JSON cannot hold it.

    OpenZFS 2.3.2 breaks JSON off at the first byte of a value that is no ASCII in the C locale,
    and drops characters beyond the Basic Multilingual Plane in any other (libnvpair_json.c,
    nvlist_print_json_string). In lines a newline in a value of somebody else's could pass for
    another dataset, so the names are held against a list of names alone, which is ASCII.
    """
    for _ in range(_TRIES):  # again when a dataset comes or goes between the two
        names = [entry.name for entry in listing.parse_json_list(run((), as_json=True), ())]
        found = listing.parse_list(run(properties, as_json=False), properties)
        if names == [entry.name for entry in found]:
            return found
    raise not_understood("lines that are no datasets", ["zfs", "list"])


def _checked_types(types: Iterable[str]) -> tuple[str, ...]:
    chosen = tuple(types)
    if not chosen or not _TYPES.issuperset(chosen):
        raise InvalidArgument(
            f"choose one or more of {', '.join(sorted(_TYPES))}, not {chosen!r:.100}",
            field="types",
        )
    return chosen
