"""Volumes for others to use, over ZFS: the calls of the nessie-store Python bindings 0.3.1.

``NessieError`` is the root of the error tree, so ``except NessieError`` catches what it did
there, and narrower classes of :mod:`modules.errors` tell what happened.
"""

from modules.errors import StorageError as NessieError
from zfsstore.backend.publishing import Publication
from zfsstore.backend.zfsbackend import ZfsBackend

__all__ = ["NessieError", "Publication", "ZfsBackend"]
