"""An object store over ZFS, or plain directories, extended by storage modules."""

from zfsstore.storage import ZFSStorage

__all__ = ["ZFSStorage"]
