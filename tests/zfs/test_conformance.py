"""ZFSStorage on a real dataset passes the whole suite."""

from __future__ import annotations

import os
import secrets
import unittest
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import pytest

from modules.conformance import StorageModuleSuite
from tests.zfs.datasets import STORE_ARGUMENTS, destroy_tree, value, zfs


@pytest.mark.zfs
class TestZFSStorageDataset(StorageModuleSuite, unittest.TestCase):
    module = "zfsstore.ZFSStorage"
    dataset: ClassVar[str]
    path: ClassVar[str]

    @classmethod
    def arguments(cls, directory: str) -> Mapping[str, Any]:
        cls.dataset = f"{os.environ['ZFSSTORE_TEST_POOL']}/suite-{secrets.token_hex(4)}"
        zfs("create", cls.dataset)
        cls.path = value(cls.dataset, "mountpoint")
        return {"dataset": cls.dataset, **STORE_ARGUMENTS}

    @classmethod
    def storage_paths(cls, directory: str) -> Sequence[str]:
        return [cls.path]

    @classmethod
    def tearDownClass(cls) -> None:
        try:
            super().tearDownClass()
        finally:
            destroy_tree(cls.dataset)
