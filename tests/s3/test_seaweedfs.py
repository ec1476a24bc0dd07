"""S3Storage on SeaweedFS: the whole suite on one server; a cluster that loses a server."""

from __future__ import annotations

import contextlib
import functools
import tempfile
import threading
import time
import unittest
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest

from modules.conformance import QUICK, ModuleSpec, StorageModuleSuite
from modules.conformance.payload import Source, pattern
from modules.errors import StorageError
from tests.s3.seaweedfs import SeaweedFS, seaweedfs
from tests.s3.service import MIB, S3, Service
from tests.s3.test_conformance import COMPRESSED, CacheFreeRounds
from tests.wrappers.encrypted import ENCRYPTED, encrypted, keys_at
from zfsstore.s3store import S3Storage

pytestmark = pytest.mark.seaweedfs
SIZES = (0, 1000, 300_000, 6 * MIB)
CONTEXT = {"tenant": "acme/photos"}


_running = contextlib.ExitStack()


@functools.cache
def one_server() -> tuple[SeaweedFS, Service]:
    """Start one, the first time; all classes use it, each with a bucket of its own."""
    directory = _running.enter_context(tempfile.TemporaryDirectory(prefix="seaweedfs-"))
    return _running.enter_context(seaweedfs(Path(directory), "objects"))


def teardown_module() -> None:
    _running.close()
    one_server.cache_clear()


class SeaweedFSSuite(CacheFreeRounds, StorageModuleSuite):
    scale = QUICK
    service: ClassVar[Service]

    @classmethod
    def setUpClass(cls) -> None:
        server, service = one_server()
        cls.service = server.bucket(service, cls.__name__.lower())
        super().setUpClass()

    @classmethod
    def stored_files(cls) -> Iterable[str]:
        return cls.service.everything()


class TestSeaweedFS(SeaweedFSSuite, unittest.TestCase):
    module = S3

    @classmethod
    def arguments(cls, directory: str) -> Mapping[str, Any]:
        return cls.service.args()


class TestEncryptedSeaweedFS(SeaweedFSSuite, unittest.TestCase):
    module = ENCRYPTED

    @classmethod
    def arguments(cls, directory: str) -> Mapping[str, Any]:
        return {"inner": "s3", "keys": keys_at(directory)}

    @classmethod
    def inner_modules(cls, directory: str) -> Mapping[str, ModuleSpec]:
        return {"s3": cls.service.spec()}


class TestCompressedEncryptedSeaweedFS(SeaweedFSSuite, unittest.TestCase):
    module = COMPRESSED

    @classmethod
    def arguments(cls, directory: str) -> Mapping[str, Any]:
        return {"inner": "encrypted"}

    @classmethod
    def inner_modules(cls, directory: str) -> Mapping[str, ModuleSpec]:
        return {"encrypted": encrypted("s3", keys_at(directory)), "s3": cls.service.spec()}


class Load:
    """Threads that store objects all the time, and what was acknowledged to them."""

    def __init__(self, module: S3Storage, threads: int) -> None:
        self._module = module
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        self.acknowledged: dict[str, tuple[str, int]] = {}
        self.refused = 0
        self._threads = [
            threading.Thread(target=self._run, args=(number,)) for number in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    def wait_for(self, count: int, deadline_s: float = 120) -> None:
        """Wait until *count* more puts were acknowledged."""
        goal, deadline = len(self.acknowledged) + count, time.monotonic() + deadline_s
        while len(self.acknowledged) < goal:
            assert time.monotonic() < deadline, f"{len(self.acknowledged)} puts of {goal}"
            time.sleep(0.05)

    def stop(self) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join()

    def _run(self, number: int) -> None:
        turn = 0
        while not self._stopped.is_set():
            seed, size = f"load {number} {turn}", SIZES[turn % len(SIZES)]
            turn += 1
            try:
                module_data = self._module.put(CONTEXT, Source(seed, size))
            except StorageError:  # said so: nothing was promised
                with self._lock:
                    self.refused += 1
                continue
            with self._lock:
                self.acknowledged[module_data] = (seed, size)


def test_a_volume_server_dies_under_load(tmp_path: Path) -> None:
    with seaweedfs(tmp_path, "objects", volume_servers=3, replication="001") as (cluster, service):
        load = Load(S3Storage(**service.args(max_attempts=5)), threads=4)
        try:
            load.wait_for(40)
            before = len(load.acknowledged)
            cluster.kill("volume1")
            load.wait_for(40)
        finally:
            load.stop()
        held = sum(file.stat().st_size for file in tmp_path.glob("volume1/*.dat"))
        assert held > MIB, "what died held none of the objects"
        assert len(load.acknowledged) >= before + 40
        check_all(service, load)


def check_all(service: Service, load: Load) -> None:
    """Read back everything that was acknowledged, with another instance."""
    module = S3Storage(**service.args(max_attempts=5))
    for module_data, (seed, size) in load.acknowledged.items():
        assert module.available(CONTEXT, module_data), module_data
        with module.get_read_stream(CONTEXT, module_data) as stream:
            assert pattern(seed, size) == stream.read(), f"{module_data} of {size} bytes"
