"""Makes encrypting wrappers for tests: keys in a directory, an inner module beside them."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from modules.conformance import ModuleSpec
from modules.conformance.spec import Modules
from modules.context import Context
from modules.streams import ReadStream, SupportsRead
from modules.wrappers.encryption import EncryptedStorage
from simple.simple import SimpleStorage

ENCRYPTED = "modules.wrappers.encryption.EncryptedStorage"
SEGMENT = 65536
BOUNDARIES = sorted(
    size
    for around in (0, SEGMENT, 2 * SEGMENT, 16 * SEGMENT, 17 * SEGMENT)
    for size in (around - 1, around, around + 1)
    if size >= 0
)


def keys_at(directory: Path | str) -> dict[str, Any]:
    """Return the argument ``keys`` for a key file and a key table in *directory*."""
    return {
        "table": f"{directory}/keys.db",
        "root": {"provider": "file", "path": f"{directory}/root.key"},
        "create": True,
    }


def encrypted(inner: str, keys: Mapping[str, Any], **args: Any) -> ModuleSpec:
    """Return how an encrypting wrapper around *inner* is configured."""
    return ModuleSpec(ENCRYPTED, {"inner": inner, "keys": keys, **args})


class Vault:
    """An encrypting wrapper around a SimpleStorage, and what the latter stores."""

    def __init__(self, directory: Path, **args: Any) -> None:
        self.directory = directory
        self.objects = directory / "objects"
        self.args = args
        self.keys = keys_at(directory)
        self.reopen()

    def reopen(self) -> None:
        """Take a new instance, which has seen nothing."""
        leaf = ModuleSpec("simple.simple.SimpleStorage", {"storage_dir": str(self.objects)})
        modules = Modules({"leaf": leaf, "enc": encrypted("leaf", self.keys, **self.args)})
        module = modules.get("enc")
        assert isinstance(module, EncryptedStorage)
        self.module = module

    def put(self, data: bytes, context: Context | None = None) -> str:
        return self.module.put(context or {}, io.BytesIO(data))

    def get(self, module_data: str, context: Context | None = None) -> bytes:
        with self.module.get_read_stream(context or {}, module_data) as stream:
            return stream.read()

    def file(self, module_data: str) -> Path:
        """Return the file that holds an object's ciphertext."""
        return self.objects / module_data.rpartition(":")[2]

    def replace(self, module_data: str, ciphertext: bytes) -> None:
        """Put other bytes in an object's place, for an instance that has seen nothing."""
        path = self.file(module_data)
        path.chmod(0o644)
        path.write_bytes(ciphertext)
        self.reopen()


class Lying(SimpleStorage):
    """An inner module whose streams are changed by the test; ``twist`` gets the whole object."""

    twist: Any = None

    def get_read_stream(self, context: Context, module_data: str) -> ReadStream:
        with super().get_read_stream(context, module_data) as stream:
            data = stream.read()
        twisted: ReadStream = self.twist(data)
        return twisted


class Short(io.BytesIO):
    """Gives at most 1000 bytes at a time."""

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(1000 if size is None or size < 0 else min(size, 1000))


class Ends(io.BytesIO):
    """Claims its whole size, and ends before."""

    def __init__(self, data: bytes, *, at: int) -> None:
        super().__init__(data)
        self.at = at

    def read(self, size: int | None = -1, /) -> bytes:
        left = max(0, self.at - self.tell())
        return super().read(left if size is None or size < 0 else min(size, left))


class Generous(io.BytesIO):
    """Gives a byte more than it was asked for."""

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(-1 if size is None or size < 0 else size + 1)


class Failing:
    """A source that raises after *size* bytes."""

    def __init__(self, size: int) -> None:
        self._stream = io.BytesIO(bytes(size))

    def read(self, size: int = -1, /) -> bytes:
        if block := self._stream.read(size):
            return block
        raise ConnectionResetError("the client is gone")


def slices(stream: SupportsRead, size: int) -> Iterator[bytes]:
    """Yield blocks of *size* bytes to the end."""
    while block := stream.read(size):
        yield block
