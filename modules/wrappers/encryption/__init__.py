"""EncryptedStorage: objects encrypted with keys of their own, in format E1 (docs/formats.md)."""

from __future__ import annotations

from modules.wrappers.encryption.storage import EncryptedStorage

__all__ = ["EncryptedStorage"]
