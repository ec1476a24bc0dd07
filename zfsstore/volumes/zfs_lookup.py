"""Finding volumes among datasets: by uuid, by name, all of them; and who may change them.

The properties of the datasets count: ``zfsstore:uuid`` (local or received; properties are
inherited, so a child without one would show its parent's) and the dataset's own name. What is
remembered in memory is only where to look first.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Final

from modules import fences
from modules.errors import NotFound, StorageError, translated_oserror
from zfsstore import layout
from zfsstore.volumes import common
from zfsstore.volumes.datasets import PROPERTIES, UUID, Found, settle
from zfsstore.volumes.zfs_identity import plan_uuids, with_uuid
from zfsstore.volumes.zfs_naming import Naming
from zfsstore.zfs.client import ZfsClient
from zfsstore.zfs.commands import Dataset
from zfsstore.zfs.names import split_volume_name

_log = logging.getLogger(__name__)

_MAX_KNOWN: Final = 4096


class Lookup(Naming):
    """The volumes below a root dataset.

    Args:
        client: runs the commands.
        root_dataset: an existing, mounted dataset.
        root: its mountpoint.
    """

    def __init__(self, client: ZfsClient, root_dataset: str, root: str) -> None:
        super().__init__(client, root_dataset, root)
        self._known: dict[str, str] = {}  # uuid -> dataset, where to look first
        self._mine = threading.local()

    def walk(self) -> list[Found]:
        """Return every volume, parents before children; one command for all.

        Of several datasets with one uuid the oldest keeps it, the others get new ones for good.
        """
        datasets = self._all()
        if plan_uuids(self._carriers(datasets)):
            datasets = self._told_apart()
        return self._remembered(datasets)

    def find(self, uuid: str) -> Found | None:
        """Return the volume, None when there is none."""
        wanted = common.parse_uuid(uuid)
        if wanted is None:
            return None
        if (dataset := self._known.get(wanted)) is not None:
            with suppress(NotFound):  # renamed by somebody
                for found in self._remembered(self.client.get(self.chain(dataset), PROPERTIES)):
                    if found.uuid == wanted:
                        return found
        return next((found for found in self.walk() if found.uuid == wanted), None)

    def need(self, uuid: str, operation: str) -> Found:
        """Return the volume.

        Raises:
            VolumeNotFound: there is none.
        """
        found = self.find(uuid)
        if found is None:
            raise common.no_such_volume(uuid, operation=operation)
        return found

    def need_with(
        self, uuid: str, operation: str, properties: Sequence[str]
    ) -> tuple[Found, Dataset]:
        """Return the volume, and its dataset with more properties; one command where it is known.

        Raises:
            VolumeNotFound: there is none.
        """
        wanted = common.parse_uuid(uuid)
        if (dataset := self._known.get(wanted or "")) is not None:
            names = tuple(dict.fromkeys((*PROPERTIES, *properties)))
            with suppress(NotFound):  # renamed by somebody
                listed = {one.name: one for one in self.client.get(self.chain(dataset), names)}
                for found in self._remembered(listed.values()):
                    if found.uuid == wanted:
                        return found, listed[found.dataset]
        found = self.need(uuid, operation)
        (present,) = self.client.get([found.dataset], properties)
        return found, present

    def is_taken(self, uuid: str) -> bool:
        """Return whether a volume, or something in the trash, has this uuid."""
        carriers = self._carriers(self._all())
        return any(common.parse_uuid(one.own(UUID)) == uuid for one in carriers)

    def need_all(self, uuids: Sequence[str], operation: str) -> list[Found]:
        """Return the volumes, each once, in the order given; one command for any number.

        Raises:
            VolumeNotFound: one of them is not there.
        """
        if len(uuids) == 1:
            return [self.need(uuids[0], operation)]
        present = {found.uuid: found for found in self.walk()} if uuids else {}
        wanted: dict[str, Found] = {}
        for uuid in uuids:
            found = present.get(common.parse_uuid(uuid) or "")
            if found is None:
                raise common.no_such_volume(uuid, operation=operation)
            wanted.setdefault(found.uuid, found)
        return list(wanted.values())

    def named(self, name: str) -> Found | None:
        """Return the volume of that name, None when there is none.

        Raises:
            InvalidName: no volume can have it.
        """
        with suppress(NotFound):
            chain = self.chain(self.dataset(split_volume_name(name)))
            for found in self._remembered(self.client.get(chain, PROPERTIES)):
                if found.name == name:
                    return found
        return None

    def with_buckets(self, found: Found) -> list[Found]:
        """Return the volume and, after a tenant, its buckets."""
        if "/" in found.name:
            return [found]
        datasets = self.client.get([found.dataset], PROPERTIES, depth=1)
        return self._remembered(datasets)

    def names(self, full_names: Sequence[str]) -> dict[str, str]:
        """Return what people call datasets and snapshots: as volumes, where they are."""
        known = {found.dataset: found.name for found in self.walk()}
        called = self.called([full.partition("@")[0] for full in full_names], known)
        parts = {full: full.partition("@") for full in full_names}
        return {full: f"{called[dataset]}{at}{s}" for full, (dataset, at, s) in parts.items()}

    def remember(self, uuid: str, dataset: str) -> None:
        """Look for the volume there first."""
        if len(self._known) >= _MAX_KNOWN:
            self._known.clear()
        self._known[uuid] = dataset

    @contextmanager
    def control(self, operation: str, subject: str) -> Iterator[None]:
        """Hold off every other thread and process that changes volumes; may be nested."""
        if getattr(self._mine, "has_control", False):
            yield
            return
        with (
            translated_oserror(operation=operation, subject=subject),
            common.control_lock(self.root),
        ):
            self._mine.has_control = True
            try:
                yield
            finally:
                self._mine.has_control = False

    @contextmanager
    def alone(self, names: Iterable[str], *, patience_s: float) -> Iterator[None]:
        """Be alone in the volumes of these names, whether they exist or not.

        Raises:
            Busy: somebody did not let go of one in time.
        """
        paths = [layout.fence_path(self.root, name) for name in names]
        with fences.exclusive(paths, patience_s=patience_s):
            yield

    def create_fence(self, name: str) -> None:
        """Create a volume's fence in good time: in a full pool nothing can be created."""
        fences.create(layout.fence_path(self.root, name))

    def _remembered(self, datasets: Iterable[Dataset]) -> list[Found]:
        """Return what is a volume, given parents before children, and remember where it is."""
        volumes = self.volumes_of(datasets)
        for found in volumes:
            self.remember(found.uuid, found.dataset)
        return volumes

    def _all(self) -> list[Dataset]:
        return self.client.get([self.root_dataset], PROPERTIES, depth=2)

    def _carriers(self, datasets: Iterable[Dataset]) -> list[Dataset]:
        """Return those whose uuid counts: volumes, and what lies in the trash."""
        parents = {self.root_dataset, self.trash}
        found = []
        for present in datasets:
            if present.own(UUID) is None or present.name.rpartition("/")[0] not in parents:
                continue
            parents.add(present.name)
            found.append(present)
        return found

    def _told_apart(self) -> list[Dataset]:
        """Give new uuids to what came with the uuid of another one, and return all datasets."""
        with self.control("list volumes of", self.root_dataset):
            datasets = self._all()
            plan = plan_uuids(self._carriers(datasets))
            for dataset, uuid in plan.items():
                _log.warning("%s has the uuid of another volume; it gets %s", dataset, uuid)
                try:
                    self.client.set(dataset, {UUID: uuid})
                except StorageError as error:  # the same for whoever looks, also if it stays so
                    _log.warning("the new uuid of %s is not recorded: %s", dataset, error)
            datasets = [with_uuid(one, plan.get(one.name)) for one in datasets]
            for found in self._remembered(datasets):
                if found.dataset in plan:
                    settle(found)
        return datasets
