"""ZFSStorage on a real dataset passes the whole suite."""

from __future__ import annotations

import os
import secrets
import unittest
from collections.abc import Mapping
from typing import Any, ClassVar

import pytest

from modules.conformance import StorageModuleSuite
from tests.zfs.datasets import AGENT, STORE_ARGUMENTS, destroy_tree, zfs


@pytest.mark.zfs
class TestZFSStorageDataset(StorageModuleSuite, unittest.TestCase):
    module = "zfsstore.ZFSStorage"
    dataset: ClassVar[str]

    @classmethod
    def arguments(cls, directory: str) -> Mapping[str, Any]:
        cls.dataset = f"{os.environ['ZFSSTORE_TEST_POOL']}/suite-{secrets.token_hex(4)}"
        elsewhere = ("-o", f"mountpoint={directory}/objects") if AGENT is None else ()
        zfs("create", *elsewhere, cls.dataset)
        return {"dataset": cls.dataset, **STORE_ARGUMENTS}

    @classmethod
    def tearDownClass(cls) -> None:
        try:
            super().tearDownClass()
        finally:
            destroy_tree(cls.dataset)
