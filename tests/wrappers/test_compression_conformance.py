"""CompressedStorage passes the whole suite around each kind of inner module."""

from __future__ import annotations

import unittest
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from modules.conformance import QUICK, ModuleSpec, StorageModuleSuite
from tests.wrappers.encrypted import encrypted, keys_at

SIMPLE = "simple.simple.SimpleStorage"
COMPRESSED = "modules.wrappers.compression.CompressedStorage"


class CompressedSuite(StorageModuleSuite):
    module = COMPRESSED
    scale = QUICK

    @classmethod
    def arguments(cls, directory: str) -> Mapping[str, Any]:
        return {"inner": "leaf"}

    @classmethod
    def storage_paths(cls, directory: str) -> Sequence[str]:
        return [f"{directory}/objects"]


class TestCompressedSimple(CompressedSuite, unittest.TestCase):
    @classmethod
    def inner_modules(cls, directory: str) -> Mapping[str, ModuleSpec]:
        return {"leaf": ModuleSpec(SIMPLE, {"storage_dir": f"{directory}/objects"})}


class TestCompressedDirectory(CompressedSuite, unittest.TestCase):
    @classmethod
    def inner_modules(cls, directory: str) -> Mapping[str, ModuleSpec]:
        return {"leaf": ModuleSpec("zfsstore.ZFSStorage", {"directory": f"{directory}/objects"})}


@pytest.mark.slow
class TestCompressedEncrypted(CompressedSuite, unittest.TestCase):
    """The order that makes sense: what is encrypted would not compress."""

    @classmethod
    def inner_modules(cls, directory: str) -> Mapping[str, ModuleSpec]:
        return {
            "leaf": encrypted("deeper", keys_at(directory)),
            "deeper": ModuleSpec("zfsstore.ZFSStorage", {"directory": f"{directory}/objects"}),
        }
