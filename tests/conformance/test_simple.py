"""The conformance suite on SimpleStorage."""

from __future__ import annotations

import unittest
from collections.abc import Mapping
from typing import Any

from modules.conformance import StorageModuleSuite


class TestSimpleStorage(StorageModuleSuite, unittest.TestCase):
    module = "simple.simple.SimpleStorage"

    @classmethod
    def arguments(cls, directory: str) -> Mapping[str, Any]:
        return {"storage_dir": directory}
