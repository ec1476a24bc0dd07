"""What a storage module is. A vendor's package needs nothing else of ours:

from modules import StorageModule
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from modules.context import Context
from modules.streams import ReadStream, SupportsRead

__all__ = ["StorageModule"]


class StorageModule:
    """A place to keep objects: the seven methods a host calls.

    One instance lives for the life of a server process. Many threads call it at once, and other
    processes have instances of their own on the same data; so no state may grow, no descriptor
    may leak, and no lock may be held around I/O.

    The constructor takes the keyword arguments that an administrator gave as JSON ``args``. It
    validates them and raises :class:`modules.errors.ConfigurationError` for a wrong one.

    Source: Mezeo Vendor Storage Module SDK, ``StorageModule``; made precise in docs/modules.md.
    """

    def __init__(self, **kwargs: Any) -> None:
        if kwargs:
            raise TypeError(f"{type(self).__name__} takes no arguments, got {sorted(kwargs)}")

    def available(self, context: Context, module_data: str) -> bool:
        """Return True when this object's data is here and readable.

        Any string at all gets a bool: a malformed or forged *module_data* gives False.
        """
        raise NotImplementedError

    def put(self, context: Context, stream: SupportsRead) -> str:
        """Store all of *stream* and return its module_data, once the data is durable.

        Reads ``stream.read(n)`` until it returns ``b""``; a read may return fewer bytes than
        asked. Memory stays bounded whatever the size. When reading or writing fails, or the
        context's ``content_length`` is not met, nothing is left behind and nothing is visible.

        Returns:
            A short, non-empty string, opaque to everyone else, that stays valid when the volume
            is renamed, snapshotted, cloned or received on another machine.

        Raises:
            modules.errors.QuotaExceeded, modules.errors.NoSpace: nothing was stored.
            modules.errors.TruncatedStream: *stream* did not hold ``content_length`` bytes.
        """
        raise NotImplementedError

    def get_read_stream(self, context: Context, module_data: str) -> ReadStream:
        """Return a stream of the object's bytes: read, seek, tell, close; usable in ``with``.

        The caller closes it. A stream on a real file may offer ``fileno()``, so that a host can
        send it without copying.

        Raises:
            modules.errors.ObjectNotFound: no such object (any more).
            modules.errors.InvalidModuleData: this module cannot have returned *module_data*.
        """
        raise NotImplementedError

    def delete(self, context: Context, module_data: str) -> None:
        """Remove the object. Deleting an absent one is silent; open readers keep reading.

        Raises:
            modules.errors.InvalidModuleData: this module cannot have returned *module_data*.
        """
        raise NotImplementedError

    def statistics(self, context: Context) -> dict[str, Any]:
        """Return ``{"capacity": {"total": n, "free": n, "used": n}}`` in bytes, maybe more."""
        raise NotImplementedError

    def capabilities(self, context: Context) -> Mapping[str, Any]:
        """Return what this module truly offers, as a JSON object of CDMI capability names.

        What the substrate cannot do is not listed. ``{}`` is fine.

        Source: CDMI 2.0, capability objects.
        """
        raise NotImplementedError
