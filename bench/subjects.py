"""What can be measured: a raw recipe or a storage module, behind the same four calls."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from bench.data import BLOCK_BYTES, Source
from modules import StorageModule


class Subject(Protocol):
    """One thing under measurement. Many threads call it at once."""

    name: str
    is_raw: bool

    def put(self, source: Source, size_bytes: int) -> Any:
        """Store all of *source*, durable on return; return what the other calls take."""

    def get(self, handle: Any) -> int:
        """Read the object to its end in blocks; return how many bytes there were."""

    def read_back(self, handle: Any) -> bytes:
        """Return the object's bytes, to be compared."""

    def delete(self, handle: Any) -> None:
        """Remove the object."""

    def close(self) -> None:
        """Release what is held."""


class ModuleSubject:
    """A storage module, called the way a host calls it."""

    is_raw = False

    def __init__(
        self,
        name: str,
        module: StorageModule,
        context: Mapping[str, Any],
        *,
        close: Callable[[], None] = lambda: None,
    ) -> None:
        self.name = name
        self._module = module
        self._context = dict(context)
        self.close = close

    def put(self, source: Source, size_bytes: int) -> str:
        return self._module.put({**self._context, "content_length": size_bytes}, source)

    def get(self, handle: str) -> int:
        total = 0
        with self._module.get_read_stream(self._context, handle) as stream:
            while block := stream.read(BLOCK_BYTES):
                total += len(block)
        return total

    def read_back(self, handle: str) -> bytes:
        with self._module.get_read_stream(self._context, handle) as stream:
            return stream.read()

    def delete(self, handle: str) -> None:
        self._module.delete(self._context, handle)


def simple_subject(root: Path) -> ModuleSubject:
    """Return simple.simple.SimpleStorage on a folder below *root*."""
    from simple.simple import SimpleStorage

    return ModuleSubject("SimpleStorage", SimpleStorage(storage_dir=str(root / "simple")), {})


def directory_subject(root: Path) -> ModuleSubject:
    """Return ZFSStorage on a folder below *root*, in a bucket."""
    from zfsstore import ZFSStorage

    module = ZFSStorage(directory=str(root / "zfsstore"))
    return _in_bucket("ZFSStorage, directory", module)


def dataset_subject(dataset: str) -> ModuleSubject:
    """Return ZFSStorage on a new child of a real dataset, in a bucket."""
    from zfsstore import ZFSStorage

    return _in_bucket("ZFSStorage, dataset", ZFSStorage(dataset=dataset))


def _in_bucket(name: str, module: Any) -> ModuleSubject:
    for volume in ("bench", "bench/objects"):
        module.volumes.create_volume(volume)
    return ModuleSubject(name, module, {"tenant": "bench/objects"})
