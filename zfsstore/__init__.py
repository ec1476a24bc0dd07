"""An object store over ZFS, or plain directories, extended by storage modules."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from zfsstore.storage import ZFSStorage
else:

    def __getattr__(name: str) -> object:
        """Import the store when it is asked for: most commands do without it."""
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from zfsstore.storage import ZFSStorage

        return ZFSStorage


__all__ = ["ZFSStorage"]
