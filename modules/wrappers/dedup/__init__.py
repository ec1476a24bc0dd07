"""Deduplication around any other storage module, in format D1 (docs/formats.md)."""

from modules.wrappers.dedup.storage import DedupStorage

__all__ = ["DedupStorage"]
