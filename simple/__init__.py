"""The smallest honest storage module: files in one directory. The example to copy."""

from simple.simple import SimpleStorage

__all__ = ["SimpleStorage"]
