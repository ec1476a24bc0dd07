"""Modules around another module: encryption, deduplication, compression; and what they share.

Each is imported by its dotted name, so that its extra is needed only where it is used.
"""

from __future__ import annotations

from modules.wrappers.base import Wrapper

__all__ = ["Wrapper"]
