"""EncryptedStorage passes the whole suite around each kind of inner module."""

from __future__ import annotations

import unittest
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import pytest

from modules.conformance import QUICK, ModuleSpec, StorageModuleSuite
from tests.conformance.memory import directory_in_memory
from tests.wrappers.encrypted import ENCRYPTED, encrypted, keys_at

SIMPLE = "simple.simple.SimpleStorage"


class EncryptedSuite(StorageModuleSuite):
    module = ENCRYPTED
    scale = QUICK

    @classmethod
    def arguments(cls, directory: str) -> Mapping[str, Any]:
        return {"inner": "leaf", "keys": keys_at(directory)}

    @classmethod
    def storage_paths(cls, directory: str) -> Sequence[str]:
        return [f"{directory}/objects"]


class TestEncryptedSimple(EncryptedSuite, unittest.TestCase):
    @classmethod
    def inner_modules(cls, directory: str) -> Mapping[str, ModuleSpec]:
        return {"leaf": ModuleSpec(SIMPLE, {"storage_dir": f"{directory}/objects"})}


class TestEncryptedDirectory(EncryptedSuite, unittest.TestCase):
    root: ClassVar[str]

    @classmethod
    def inner_modules(cls, directory: str) -> Mapping[str, ModuleSpec]:
        cls.root = cls.enterClassContext(directory_in_memory())
        return {"leaf": ModuleSpec("zfsstore.ZFSStorage", {"directory": cls.root})}

    @classmethod
    def storage_paths(cls, directory: str) -> Sequence[str]:
        return [cls.root]


@pytest.mark.slow
class TestEncryptedTwice(EncryptedSuite, unittest.TestCase):
    """Another cipher, around a wrapper."""

    @classmethod
    def arguments(cls, directory: str) -> Mapping[str, Any]:
        return {**super().arguments(directory), "suite": "ChaCha20-Poly1305"}

    @classmethod
    def inner_modules(cls, directory: str) -> Mapping[str, ModuleSpec]:
        return {
            "leaf": encrypted("deeper", keys_at(directory)),
            "deeper": ModuleSpec(SIMPLE, {"storage_dir": f"{directory}/objects"}),
        }
