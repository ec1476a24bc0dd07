"""Between the index and the storage modules: what goes in, comes out and is deleted."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Any

from modules import StorageModule
from modules.errors import (
    Busy,
    IntegrityError,
    StorageError,
    SubstrateError,
    TruncatedStream,
)
from modules.fences import Hold
from modules.streams import ReadStream, SupportsRead
from zfsstore.host.composed import ComposedStream
from zfsstore.host.inflight import InFlight
from zfsstore.host.namespace.index import Index
from zfsstore.host.namespace.records import Blob, PendingDelete, Version

MAX_MODULE_DATA: int = 4096
_log = logging.getLogger(__name__)

Modules = Callable[[str], StorageModule]
MakeContext = Callable[..., dict[str, Any]]


class _CountedStream:
    """A put's source: counts what the module reads, and keeps the error a read raised.

    It ends with Busy as soon as somebody waits to be alone in the volume.
    """

    __slots__ = ("_hold", "_stream", "error", "size_bytes")

    def __init__(self, stream: SupportsRead, hold: Hold | None) -> None:
        self._stream = stream
        self._hold = hold
        self.size_bytes = 0
        self.error: BaseException | None = None

    def read(self, size: int = -1, /) -> bytes:
        try:
            if self._hold is not None:
                self._hold.check()
            block = self._read(size)
        except BaseException as error:
            self.error = error
            raise
        self.size_bytes += len(block)
        return block

    def _read(self, size: int) -> bytes:
        try:
            return self._stream.read(size)
        except Exception:
            if self._hold is not None:
                self._hold.check()  # then that is why it was interrupted
            raise


class Blobs:
    """Puts, opens and deletes objects in the modules that hold them.

    Args:
        modules: gives the instance of a configured module by name.
        context: makes the context of a call from its keyword arguments.
    """

    def __init__(self, modules: Modules, context: MakeContext) -> None:
        self._modules = modules
        self._context = context
        self.in_flight = InFlight()

    def put(
        self,
        module_name: str,
        path: str,
        stream: SupportsRead,
        content_length: int | None,
        *,
        hold: Hold | None = None,
    ) -> Blob:
        """Store all of *stream*; the blob is durable, and known to nobody but the caller.

        Args:
            path: "acme/photos", the context's tenant.
            hold: of the volume's fence.

        Raises:
            Busy: somebody waits to be alone in the volume; nothing was stored.
            TruncatedStream: *stream* did not hold *content_length* bytes.
            SubstrateError: the module raised what no module may, or returned no module_data.
        """
        module = self._modules(module_name)
        extra = {} if content_length is None else {"content_length": content_length}
        counted = _CountedStream(stream, hold)
        try:
            context = call_context(module, self._context, path, **extra)
            with self.in_flight.uploading(hold, stream):
                module_data = module.put(context, counted)
        except Exception as error:
            if counted.error is not None:  # which the module may have taken for one of its own
                raise counted.error from None
            if isinstance(error, StorageError):
                raise
            raise _misbehaved(module_name, "put", error) from error
        _check_module_data(module_name, module_data)
        blob = Blob(module_name, module_data, counted.size_bytes)
        try:
            _check_read(module_name, counted, content_length)
        except BaseException:
            self.discard(path, blob)
            raise
        return blob

    def open(self, path: str, version: Version, *, snapshot: str | None = None) -> ReadStream:
        """Return a stream of the version's value; the caller closes it.

        Args:
            snapshot: as of which the version was found.

        Raises:
            ObjectNotFound: its module has deleted it: look up the key once more.
        """
        extents = version.extents
        if len(extents) == 1 and extents[0].length == extents[0].blob.size_bytes:
            return self._open_blob(path, extents[0].blob, snapshot)
        return ComposedStream(extents, lambda blob: self._open_blob(path, blob, snapshot))

    def delete(
        self, path: str, index: Index, released: Iterable[PendingDelete], *, wait: bool = False
    ) -> int:
        """Delete blobs that the index has released, then forget them; return how many.

        What a module cannot delete just now stays pending, and is tried again later.

        Args:
            wait: until forgetting is durable too; a crash before only means deleting again.
        """
        done = []
        for pending in released:
            try:
                self._delete(path, pending.module, pending.module_data)
            except Busy:  # so are all the others: the volume is closed off
                break
            except StorageError as error:
                _log.warning("%s: an object stays pending: %s", path, error)
            else:
                done.append(pending)
        if done:
            request = index.forget_pending(done)
            if wait:
                request.wait()
        return len(done)

    def discard(self, path: str, blob: Blob) -> None:
        """Delete a blob that did not get into the index; failing that, a sweep will."""
        try:
            self._delete(path, blob.module, blob.module_data)
        except StorageError as error:
            _log.warning("%s: an unreferenced object is left for a sweep: %s", path, error)

    def _open_blob(self, path: str, blob: Blob, snapshot: str | None) -> ReadStream:
        module = self._modules(blob.module)
        extra = {} if snapshot is None else {"snapshot": snapshot}
        context = call_context(module, self._context, path, **extra)
        return module.get_read_stream(context, blob.module_data)

    def _delete(self, path: str, module_name: str, module_data: str) -> None:
        module = self._modules(module_name)
        try:
            module.delete(call_context(module, self._context, path), module_data)
        except StorageError:
            raise
        except Exception as error:
            raise _misbehaved(module_name, "delete", error) from error


def call_context(
    module: StorageModule, make: MakeContext, path: str, **extra: Any
) -> dict[str, Any]:
    """Return the context of a call about a bucket, with its identity where the module needs it.

    A module that does not say ``needs_volume_identity`` (modules.extensions) costs nothing more.
    """
    context = make(tenant=path, **extra)
    if getattr(module, "needs_volume_identity", False):
        needing: Any = module
        identity = needing.identity(context)
        context |= {"volume_id": identity.volume_id, "key_domain": identity.key_domain}
    return context


def missing_data(path: str, key: str) -> IntegrityError:
    """Return the error for a key whose data its module does not have."""
    return IntegrityError(
        "its data is missing from the storage module",
        operation="read object",
        subject=f"{path}/{key}",
        hint="restore it from a snapshot or a replica",
    )


def _check_module_data(module_name: str, module_data: object) -> None:
    is_text = isinstance(module_data, str) and 0 < len(module_data) <= MAX_MODULE_DATA
    if not is_text or "\0" in str(module_data):
        raise SubstrateError(
            f"its module_data is {str(module_data)[:80]!r}, not text of 1 to {MAX_MODULE_DATA} "
            "characters",
            operation="put into module",
            subject=module_name,
            hint="run zfsstore module check on it",
        )


def _check_read(module_name: str, counted: _CountedStream, content_length: int | None) -> None:
    """Check that the module read everything, whatever it returned."""
    if counted.error is not None:
        raise counted.error
    if content_length is not None and counted.size_bytes != content_length:
        raise TruncatedStream(
            f"module {module_name} stored {counted.size_bytes} of {content_length} bytes",
            expected_bytes=content_length,
            received_bytes=counted.size_bytes,
            hint="send the whole object again",
        )
    if counted.read(1):
        raise SubstrateError(
            "it did not read the stream to its end",
            operation="put into module",
            subject=module_name,
            hint="run zfsstore module check on it",
        )


def _misbehaved(module_name: str, method: str, error: Exception) -> SubstrateError:
    return SubstrateError(
        f"it raised {type(error).__name__}: {error}",
        operation=f"{method} in module",
        subject=module_name,
        hint="run zfsstore module check on it",
    )
