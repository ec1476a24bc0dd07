"""What the rules about volumes share: which tier is offered, and volumes with something in them."""

from __future__ import annotations

import contextlib
import sqlite3
import tempfile
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from modules.conformance.base import SuiteBase
from modules.conformance.payload import first_difference, pattern, read_exactly
from modules.conformance.store import SMALL_BYTES
from modules.errors import NotFound, StorageError
from modules.extensions import SupportsStateDir, SupportsVolumes
from modules.state import open_database, open_snapshot_database
from modules.volumes import VolumeBackend


class VolumeHelp(SuiteBase):
    """No rules."""

    def volumes(self) -> VolumeBackend:
        """Return the backend; a module without one skips the rule."""
        module: Any = self.store.module
        if not isinstance(module, SupportsVolumes):
            self.skipTest("it offers no volumes")
        volumes: Any = module.volumes
        self.require(
            isinstance(volumes, VolumeBackend),
            f"volumes lacks a method of modules.volumes.VolumeBackend: {type(volumes).__name__}",
        )
        backend: VolumeBackend = volumes
        return backend

    def shared_volume(self, name: str) -> str:
        """Return the uuid of a bucket of the suite's tenant, made when it is first asked for."""
        if name not in self.shared:
            made = self.store.make_volume(f"{self.store.tenant}/{name}")
            self.shared[name] = made["uuid"]
        return self.shared[name]

    def new_volume(self, name: str) -> str:
        """Return the uuid of a new bucket of the suite's tenant, for this rule alone."""
        uuid: str = self.store.make_volume(f"{self.store.tenant}/{name}")["uuid"]
        self.addCleanup(self.store.drop_volume, uuid)
        return uuid

    def passing(self, volume: Mapping[str, Any]) -> str:
        """Remove this volume when the rule has been tried; return its uuid."""
        self.store.remember_volume(volume)
        uuid: str = volume["uuid"]
        self.addCleanup(self.store.drop_volume, uuid)
        return uuid

    def inside(self, name: str, snapshot: str | None = None) -> dict[str, Any]:
        """Return the context for a bucket of the suite's tenant, or a snapshot of it."""
        extra = {} if snapshot is None else {"snapshot": snapshot}
        return self.store.context(tenant=f"{self.store.tenant}/{name}", **extra)

    def put_into(self, name: str, seed: str) -> str:
        """Store the pattern of *seed* in a bucket of the suite's tenant."""
        return self.store.put(seed, context=self.inside(name))

    def holds(self, context: dict[str, Any], module_data: str, seed: str, where: str) -> None:
        """Fail unless the object is there and is the pattern of *seed*."""
        expected = pattern(seed, SMALL_BYTES)
        try:
            is_there = self.store.module.available(context, module_data)
            with contextlib.closing(
                self.store.module.get_read_stream(context, module_data)
            ) as stream:
                found = read_exactly(stream, len(expected) + 1)
        except NotFound as error:
            self.broken(f"an object that must be {where} cannot be read", error)
        self.require(is_there is True, f"available does not know an object that must be {where}")
        self.require(found == expected, f"{where}: {first_difference(expected, found)}")

    def lacks(self, context: dict[str, Any], module_data: str, where: str) -> None:
        """Fail unless the object is absent."""
        self.require(
            self.store.module.available(context, module_data) is False,
            f"available knows an object that must not be {where}",
        )
        read = partial(self.store.module.get_read_stream, context, module_data)
        self.raises(NotFound, f"get of an object that must not be {where}", read)

    def raises(
        self,
        expected: type[StorageError] | tuple[type[StorageError], ...],
        when: str,
        call: Callable[[], object],
    ) -> None:
        """Fail unless *call* raises *expected*."""
        classes = expected if isinstance(expected, tuple) else (expected,)
        names = " or ".join(found.__name__ for found in classes)
        try:
            found = call()
        except classes:
            return
        except Exception as error:
            self.broken(f"{when} must raise modules.errors.{names}", error)
        self.require(False, f"{when} must raise {names}; it gave {found!r:.100}")

    def names(self) -> list[str]:
        """Return the names of all volumes."""
        return [volume["name"] for volume in self.volumes().list_volumes()]

    def state_dir(self, context: dict[str, Any]) -> Path:
        """Return the state directory; a module without one skips the rule."""
        module: Any = self.store.module
        if not isinstance(module, SupportsStateDir):
            self.skipTest("it offers no state_dir")
        return module.state_dir(context)

    def has_state_dir(self) -> bool:
        """Return whether databases can lie beside the objects."""
        return isinstance(self.store.module, SupportsStateDir)

    @contextlib.contextmanager
    def database(self, name: str) -> Iterator[sqlite3.Connection]:
        """Give a live database of a bucket of the suite's tenant, with a table ``item``."""
        directory = self.state_dir(self.inside(name))
        with contextlib.closing(open_database(directory, "index")) as connection:
            connection.execute("CREATE TABLE IF NOT EXISTS item (name TEXT PRIMARY KEY, seed TEXT)")
            yield connection

    def frozen_items(self, name: str, snapshot: str) -> dict[str, str]:
        """Return the rows of ``item`` in a snapshot, having checked the database."""
        directory = self.state_dir(self.inside(name, snapshot))
        with (
            tempfile.TemporaryDirectory() as cache,
            contextlib.closing(
                open_snapshot_database(directory, "index", cache_directory=Path(cache))
            ) as connection,
        ):
            (verdict,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
            self.require(verdict == "ok", f"the database in the snapshot is damaged: {verdict}")
            return dict(connection.execute("SELECT name, seed FROM item").fetchall())
