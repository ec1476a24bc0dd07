"""The suite on a module that offers every optional contract: no rule is skipped for want of one."""

from __future__ import annotations

import unittest
from collections.abc import Mapping
from typing import Any

from modules.conformance import StorageModuleSuite


class TestFullStorage(StorageModuleSuite, unittest.TestCase):
    module = "tests.conformance.full_storage.FullStorage"

    @classmethod
    def arguments(cls, directory: str) -> Mapping[str, Any]:
        return {"storage_dir": directory}
