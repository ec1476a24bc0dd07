"""DedupStorage passes the whole suite around each kind of inner module; in memory."""

from __future__ import annotations

import unittest
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import pytest

from modules.conformance import QUICK, ModuleSpec, StorageModuleSuite
from modules.conformance.scale import MIB
from tests.conformance.memory import directory_in_memory
from tests.wrappers.deduplicated import DEDUP, PACK, SIMPLE
from tests.wrappers.encrypted import encrypted, keys_at


class DedupSuite(StorageModuleSuite):
    module = DEDUP
    scale = QUICK
    root: ClassVar[str]

    @classmethod
    def setUpClass(cls) -> None:
        cls.root = cls.enterClassContext(directory_in_memory())
        super().setUpClass()

    @classmethod
    def arguments(cls, directory: str) -> Mapping[str, Any]:
        return {"inner": "leaf", "pack_bytes": PACK}

    @classmethod
    def storage_paths(cls, directory: str) -> Sequence[str]:
        return [f"{cls.root}/objects"]


class TestDedupSimple(DedupSuite, unittest.TestCase):
    scale = replace(QUICK, large_bytes=4 * MIB, operations=100)

    @pytest.mark.slow
    def test_processes_parallel(self) -> None:
        super().test_processes_parallel()

    @classmethod
    def arguments(cls, directory: str) -> Mapping[str, Any]:
        return {**super().arguments(directory), "state_dir": f"{cls.root}/state"}

    @classmethod
    def inner_modules(cls, directory: str) -> Mapping[str, ModuleSpec]:
        return {"leaf": ModuleSpec(SIMPLE, {"storage_dir": f"{cls.root}/objects"})}


@pytest.mark.slow
class TestDedupDirectory(DedupSuite, unittest.TestCase):
    @classmethod
    def inner_modules(cls, directory: str) -> Mapping[str, ModuleSpec]:
        return {"leaf": ModuleSpec("zfsstore.ZFSStorage", {"directory": f"{cls.root}/objects"})}


@pytest.mark.slow
class TestDedupEncrypted(DedupSuite, unittest.TestCase):
    """The order that makes sense: what is encrypted has no equal chunks."""

    @classmethod
    def inner_modules(cls, directory: str) -> Mapping[str, ModuleSpec]:
        return {
            "leaf": encrypted("deeper", keys_at(cls.root)),
            "deeper": ModuleSpec("zfsstore.ZFSStorage", {"directory": f"{cls.root}/objects"}),
        }
