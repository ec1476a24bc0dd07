"""What datasets are called: the names of volumes, and of what they came from."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress

from modules.errors import (
    AlreadyExists,
    NotFound,
    SnapshotExists,
    SnapshotNotFound,
    StorageError,
    VolumeExists,
    VolumeNotFound,
)
from modules.volumes import CloneOrigin
from zfsstore import layout
from zfsstore.volumes import common
from zfsstore.volumes.datasets import NAME, TRASHED_NAME, UUID, Found, found_volume
from zfsstore.zfs.client import ZfsClient
from zfsstore.zfs.commands import Dataset, parse_text_property
from zfsstore.zfs.names import decode_component, encode_component, split_volume_name


class Naming:
    """The names of what lies below a root dataset.

    Args:
        client: runs the commands.
        root_dataset: an existing, mounted dataset.
        root: its mountpoint.
    """

    def __init__(self, client: ZfsClient, root_dataset: str, root: str) -> None:
        self.client = client
        self.root_dataset = root_dataset
        self.root = root
        self.trash = f"{root_dataset}/{layout.TRASH}"

    def dataset(self, parts: tuple[str, ...]) -> str:
        """Return the dataset of the volume with this name."""
        return "/".join((self.root_dataset, *map(encode_component, parts)))

    def path(self, parts: tuple[str, ...]) -> str:
        """Return where the volume with this name must be mounted."""
        return "/".join((self.root, *map(encode_component, parts)))

    def chain(self, dataset: str) -> list[str]:
        """Return the datasets from below the root down to *dataset*."""
        below = dataset.removeprefix(f"{self.root_dataset}/").split("/")
        return ["/".join((self.root_dataset, *below[:depth])) for depth in range(1, len(below) + 1)]

    def volumes_of(self, datasets: Iterable[Dataset]) -> list[Found]:
        """Return what is a volume, given parents before children."""
        listed = list(datasets)
        names = {self.root_dataset: ""}
        volumes: list[tuple[Dataset, str, str, bool]] = []
        for present in listed:
            uuid = common.parse_uuid(present.own(UUID))
            parent, _slash, component = present.name.rpartition("/")
            if present.name == self.root_dataset or uuid is None:
                continue
            if parent == self.trash:
                names[present.name] = _trashed_name(present)
                continue
            if parent not in names or parent.startswith(f"{self.trash}/"):
                continue
            own_name = _own_name(present, component)
            name = "/".join(filter(None, (names[parent], own_name or component)))
            names[present.name] = name
            volumes.append((present, name, uuid, own_name is not None))
        return [
            found_volume(
                present,
                name,
                uuid,
                is_reachable=is_named and self._is_in_place(present, name),
                origin=self._origin(present, names),
            )
            for present, name, uuid, is_named in volumes
        ]

    def _is_in_place(self, present: Dataset, name: str) -> bool:
        return present.value("mountpoint") == self.path(split_volume_name(name))

    def _origin(self, present: Dataset, names: Mapping[str, str]) -> CloneOrigin | None:
        snapshot = present.value("origin")
        if not snapshot:
            return None
        dataset, _at, short = snapshot.partition("@")
        return CloneOrigin(
            parent_volume=self.called(dataset, names),
            parent_snapshot=short,
        )

    def called(self, dataset: str, names: Mapping[str, str]) -> str:
        """Return what people call a dataset: the volume it is or, in the trash, was.

        One more command where neither *names* nor the dataset's own name says it.
        """
        if dataset in names:
            return names[dataset]
        if not dataset.startswith(f"{self.root_dataset}/"):
            return dataset
        below = dataset.removeprefix(f"{self.root_dataset}/").split("/")
        parts = [decode_component(component) for component in below]
        if below[0] != layout.TRASH and None not in parts:
            return "/".join(filter(None, parts))
        return self._asked(dataset)

    def _asked(self, dataset: str) -> str:
        called: list[str] = []
        try:
            chain = self.client.get(self.chain(dataset), (UUID, NAME, TRASHED_NAME))
        except NotFound:
            return dataset.removeprefix(f"{self.root_dataset}/")
        for present in chain:
            if present.name == self.trash:
                continue
            if present.name.rpartition("/")[0] == self.trash:
                called.append(_trashed_name(present))
            else:
                component = present.name.rpartition("/")[2]
                called.append(_own_name(present, component) or component)
        return "/".join(called)


def _own_name(present: Dataset, component: str) -> str | None:
    """Return a volume's name without its tenant's, None when nothing tells it.

    A name too long to be decoded is a property, or, while a rename is under way or where one was
    interrupted, still in volume.json.
    """
    name = decode_component(component, parse_text_property(present.own(NAME) or ""))
    path = present.value("mountpoint")
    if name is None and path is not None and present.value("mounted") == "yes":
        with suppress(OSError, StorageError):
            name = decode_component(component, layout.read_volume_file(path, subject=path).name)
    return name


def _trashed_name(present: Dataset) -> str:
    recorded = present.own(TRASHED_NAME)
    return parse_text_property(recorded) if recorded else os.path.basename(present.name)


@contextmanager
def named_errors(
    operation: str,
    subject: str,
    *,
    missing: type[NotFound] = VolumeNotFound,
    taken: type[AlreadyExists] = VolumeExists,
) -> Iterator[None]:
    """Turn what zfs did not find, or found, into the errors of volumes and snapshots."""
    try:
        yield
    except (VolumeNotFound, VolumeExists, SnapshotNotFound, SnapshotExists):
        raise
    except NotFound as error:
        raise missing(error.reason, operation=operation, subject=subject) from error
    except AlreadyExists as error:
        raise taken("it exists already", operation=operation, subject=subject) from error
