"""S3Storage passes the whole suite against moto's server, by itself and below wrappers."""

from __future__ import annotations

import sys
import unittest
import urllib.parse
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from modules.conformance import QUICK, ModuleSpec, StorageModuleSuite
from modules.conformance.parallel_rules import ParallelRules
from tests.s3.service import S3, Service, moto_service
from tests.wrappers.encrypted import encrypted, keys_at


class CacheFreeRounds(ParallelRules):
    """Tells what leaks from libraries' caches, which are bounded but fill slowly."""

    def _round(self, number: int) -> None:
        """Then forget urllib's 128 URLs and, rarely, Python's 4096 attributes."""
        super()._round(number)
        urllib.parse.clear_cache()
        if number % 10 == 9:
            sys._clear_type_cache()


class S3Suite(CacheFreeRounds, StorageModuleSuite):
    scale = QUICK
    service: ClassVar[Service]

    @classmethod
    def setUpClass(cls) -> None:
        cls.service = cls.enterClassContext(moto_service(cls.__name__.lower()))
        super().setUpClass()

    @classmethod
    def stored_files(cls) -> Iterable[str]:
        return cls.service.everything()


class TestS3(S3Suite, unittest.TestCase):
    module = S3

    @classmethod
    def arguments(cls, directory: str) -> Mapping[str, Any]:
        return cls.service.args()


class TestCompressedEncryptedS3(S3Suite, unittest.TestCase):
    module = "modules.wrappers.compression.CompressedStorage"

    @classmethod
    def arguments(cls, directory: str) -> Mapping[str, Any]:
        return {"inner": "encrypted"}

    @classmethod
    def inner_modules(cls, directory: str) -> Mapping[str, ModuleSpec]:
        return {"encrypted": encrypted("s3", keys_at(directory)), "s3": cls.service.spec()}
