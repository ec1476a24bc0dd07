"""A module that binds what it stores to a volume is told which one it is."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from modules import StorageModule
from modules.context import Context
from modules.extensions import NeedsVolumeIdentity, VolumeIdentity
from modules.streams import ReadStream, SupportsRead
from zfsstore import ZFSStorage
from zfsstore.host.blobs import Blobs


class Wrapper(StorageModule):
    """Keeps what the contexts of its calls said about the volume."""

    def __init__(self, inner: ZFSStorage, *, needs: bool) -> None:
        self.inner = inner
        self.needs_volume_identity = needs
        self.told: list[tuple[Any, Any]] = []

    def identity(self, context: Context) -> VolumeIdentity:
        return self.inner.identity(context)

    def put(self, context: Context, stream: SupportsRead) -> str:
        self.told.append((context.get("volume_id"), context.get("key_domain")))
        return self.inner.put(context, stream)

    def get_read_stream(self, context: Context, module_data: str) -> ReadStream:
        self.told.append((context.get("volume_id"), context.get("key_domain")))
        return self.inner.get_read_stream(context, module_data)

    def delete(self, context: Context, module_data: str) -> None:
        self.told.append((context.get("volume_id"), context.get("key_domain")))
        self.inner.delete(context, module_data)


def use(tmp_path: Path, *, needs: bool) -> tuple[VolumeIdentity, list[tuple[Any, Any]]]:
    store = ZFSStorage(directory=str(tmp_path))
    store.volumes.create_volume("acme")
    store.volumes.create_volume("acme/photos")
    wrapper = Wrapper(store, needs=needs)
    assert isinstance(wrapper, NeedsVolumeIdentity)
    blobs = Blobs(lambda _name: wrapper, lambda **extra: dict(extra))
    blob = blobs.put("wrapped", "acme/photos", io.BytesIO(b"content"), 7)
    blobs.discard("acme/photos", blob)
    return store.identity({"tenant": "acme/photos"}), wrapper.told


def test_module_that_needs_it_is_told_in_every_call(tmp_path: Path) -> None:
    identity, told = use(tmp_path, needs=True)
    assert [(identity.volume_id, identity.key_domain)] * 2 == told


def test_module_that_does_not_need_it_is_not_told(tmp_path: Path) -> None:
    _identity, told = use(tmp_path, needs=False)
    assert [(None, None)] * 2 == told
