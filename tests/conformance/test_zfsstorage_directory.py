"""ZFSStorage on a plain directory passes the whole suite; in memory, for it makes many volumes."""

from __future__ import annotations

import unittest
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from modules.conformance import StorageModuleSuite
from tests.conformance.memory import directory_in_memory


class TestZFSStorageDirectory(StorageModuleSuite, unittest.TestCase):
    module = "zfsstore.ZFSStorage"
    root: ClassVar[str]

    @classmethod
    def arguments(cls, directory: str) -> Mapping[str, Any]:
        cls.root = cls.enterClassContext(directory_in_memory())
        return {"directory": f"{cls.root}/objects"}

    @classmethod
    def storage_paths(cls, directory: str) -> Sequence[str]:
        return [cls.root]
