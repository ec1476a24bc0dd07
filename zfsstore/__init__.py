"""An object store over ZFS, or plain directories, extended by storage modules."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from zfsstore.backend import ZfsBackend
    from zfsstore.storage import ZFSStorage
else:

    def __getattr__(name: str) -> object:
        """Import what is asked for: most commands do without it."""
        if name == "ZFSStorage":
            from zfsstore.storage import ZFSStorage

            return ZFSStorage
        if name == "ZfsBackend":
            from zfsstore.backend import ZfsBackend

            return ZfsBackend
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = ["ZFSStorage", "ZfsBackend"]
