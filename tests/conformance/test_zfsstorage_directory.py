"""ZFSStorage on a plain directory passes the whole suite."""

from __future__ import annotations

import unittest
from collections.abc import Mapping
from typing import Any

from modules.conformance import StorageModuleSuite


class TestZFSStorageDirectory(StorageModuleSuite, unittest.TestCase):
    module = "zfsstore.ZFSStorage"

    @classmethod
    def arguments(cls, directory: str) -> Mapping[str, Any]:
        return {"directory": f"{directory}/objects"}
