"""CompressedStorage passes the whole suite around each kind of inner module; in memory."""

from __future__ import annotations

import unittest
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import pytest

from modules.conformance import QUICK, ModuleSpec, StorageModuleSuite
from tests.conformance.memory import directory_in_memory
from tests.wrappers.encrypted import encrypted, keys_at

SIMPLE = "simple.simple.SimpleStorage"
COMPRESSED = "modules.wrappers.compression.CompressedStorage"


class CompressedSuite(StorageModuleSuite):
    module = COMPRESSED
    scale = QUICK
    root: ClassVar[str]

    @classmethod
    def setUpClass(cls) -> None:
        cls.root = cls.enterClassContext(directory_in_memory())
        super().setUpClass()

    @classmethod
    def arguments(cls, directory: str) -> Mapping[str, Any]:
        return {"inner": "leaf"}

    @classmethod
    def storage_paths(cls, directory: str) -> Sequence[str]:
        return [f"{cls.root}/objects"]


class TestCompressedSimple(CompressedSuite, unittest.TestCase):
    @classmethod
    def inner_modules(cls, directory: str) -> Mapping[str, ModuleSpec]:
        return {"leaf": ModuleSpec(SIMPLE, {"storage_dir": f"{cls.root}/objects"})}


class TestCompressedDirectory(CompressedSuite, unittest.TestCase):
    @classmethod
    def inner_modules(cls, directory: str) -> Mapping[str, ModuleSpec]:
        return {"leaf": ModuleSpec("zfsstore.ZFSStorage", {"directory": f"{cls.root}/objects"})}


@pytest.mark.slow
class TestCompressedEncrypted(CompressedSuite, unittest.TestCase):
    """The order that makes sense: what is encrypted would not compress."""

    @classmethod
    def inner_modules(cls, directory: str) -> Mapping[str, ModuleSpec]:
        return {
            "leaf": encrypted("deeper", keys_at(cls.root)),
            "deeper": ModuleSpec("zfsstore.ZFSStorage", {"directory": f"{cls.root}/objects"}),
        }
