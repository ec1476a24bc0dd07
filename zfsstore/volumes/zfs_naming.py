"""What datasets are called: the names of volumes, and of what they came from."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
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
        origins = (present.value("origin") for present, *_rest in volumes)
        called = self.called([o.partition("@")[0] for o in origins if o], names)
        return [
            found_volume(
                present,
                name,
                uuid,
                is_reachable=is_named and self._is_in_place(present, name),
                origin=_origin(present, called),
            )
            for present, name, uuid, is_named in volumes
        ]

    def _is_in_place(self, present: Dataset, name: str) -> bool:
        return present.value("mountpoint") == self.path(split_volume_name(name))

    def called(self, datasets: Iterable[str], names: Mapping[str, str]) -> dict[str, str]:
        """Return what people call each dataset: the volume it is or, in the trash, was.

        One more command, for all, where neither *names* nor a dataset's own name says it.
        """
        called: dict[str, str] = {}
        unknown = []
        for dataset in set(datasets):
            below = dataset.removeprefix(f"{self.root_dataset}/")
            parts = [decode_component(component) for component in below.split("/")]
            if dataset in names:
                called[dataset] = names[dataset]
            elif below == dataset:
                called[dataset] = dataset  # of somebody else
            elif None not in parts:
                called[dataset] = "/".join(filter(None, parts))
            else:
                unknown.append(dataset)
        return called | (self._asked(unknown) if unknown else {})

    def _asked(self, datasets: Sequence[str]) -> dict[str, str]:
        chains = sorted({above for dataset in datasets for above in self.chain(dataset)})
        listed: dict[str, Dataset] = {}
        with suppress(NotFound):  # one of them is just gone
            found = self.client.get(chains, (UUID, NAME, TRASHED_NAME))
            listed = {present.name: present for present in found}
        return {
            dataset: _name_from([listed.get(above) for above in self.chain(dataset)])
            or dataset.removeprefix(f"{self.root_dataset}/")
            for dataset in datasets
        }


def _name_from(chain: Iterable[Dataset | None]) -> str | None:
    """Return what the last of *chain*, from below the root down, is called."""
    called: list[str] = []
    for present in chain:
        if present is None:
            return None
        parent, _slash, component = present.name.rpartition("/")
        if component == layout.TRASH:
            continue
        if parent.endswith(f"/{layout.TRASH}"):  # also of an encrypted tenant
            called = [_trashed_name(present)]
        else:
            called.append(_own_name(present, component) or component)
    return "/".join(called)


def _origin(present: Dataset, called: Mapping[str, str]) -> CloneOrigin | None:
    dataset, _at, snapshot = (present.value("origin") or "").partition("@")
    if not dataset:
        return None
    return CloneOrigin(parent_volume=called[dataset], parent_snapshot=snapshot)


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
