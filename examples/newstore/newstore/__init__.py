"""A storage module of a third party."""

from newstore.newstore import NewStorage

__all__ = ["NewStorage"]
