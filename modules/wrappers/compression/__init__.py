"""Compression around any other storage module, in format C1 (docs/formats.md)."""

from modules.wrappers.compression.storage import CompressedStorage

__all__ = ["CompressedStorage"]
