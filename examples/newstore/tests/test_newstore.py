"""NewStorage keeps the contract of storage modules, and its own promise."""

from __future__ import annotations

import io
import tempfile
import unittest
from collections.abc import Mapping
from typing import Any

from modules.conformance import StorageModuleSuite
from modules.errors import NoSpace
from newstore.newstore import NewStorage


class TestConformance(StorageModuleSuite, unittest.TestCase):
    """Every rule of the contract."""

    module = "newstore.newstore.NewStorage"

    @classmethod
    def arguments(cls, directory: str) -> Mapping[str, Any]:
        return {"storage_dir": directory}


class TestReserve(unittest.TestCase):
    """What is special about this module."""

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.directory = folder.name

    def test_put_stops_before_the_reserve(self) -> None:
        module = NewStorage(self.directory, reserve_bytes=1 << 60)
        with self.assertRaises(NoSpace):
            module.put({}, io.BytesIO(b"one byte too many"))

    def test_reserve_counts_as_used(self) -> None:
        free = NewStorage(self.directory, reserve_bytes=1 << 60).statistics({})["capacity"]["free"]
        self.assertEqual(0, free)


if __name__ == "__main__":
    unittest.main()
