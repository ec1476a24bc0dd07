"""S3Storage passes the whole suite against moto's server, by itself and below wrappers."""

from __future__ import annotations

import sys
import unittest
import urllib.parse
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest

from modules.conformance import (
    QUICK,
    ModuleSpec,
    StorageModuleSuite,
    check_module,
    format_report,
)
from modules.conformance.parallel_rules import ParallelRules
from tests.s3.service import S3, Service, moto_service
from tests.wrappers.encrypted import ENCRYPTED, encrypted, keys_at

COMPRESSED = "modules.wrappers.compression.CompressedStorage"
RULES = (
    *("put.0-bytes", "put.1-mib", "put.nothing-left", "read.ranges"),
    *("put.truncated-stream", "available.malformed", "delete.idempotent"),
)


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
        cls.service = moto_service(cls.__name__.lower())
        super().setUpClass()

    @classmethod
    def stored_files(cls) -> Iterable[str]:
        return cls.service.everything()


@pytest.mark.slow
class TestS3(S3Suite, unittest.TestCase):
    module = S3

    @classmethod
    def arguments(cls, directory: str) -> Mapping[str, Any]:
        return cls.service.args()


@pytest.mark.slow
class TestEncryptedS3(S3Suite, unittest.TestCase):
    module = ENCRYPTED

    @classmethod
    def arguments(cls, directory: str) -> Mapping[str, Any]:
        return {"inner": "s3", "keys": keys_at(directory)}

    @classmethod
    def inner_modules(cls, directory: str) -> Mapping[str, ModuleSpec]:
        return {"s3": cls.service.spec()}


@pytest.mark.slow
class TestCompressedEncryptedS3(S3Suite, unittest.TestCase):
    module = COMPRESSED

    @classmethod
    def arguments(cls, directory: str) -> Mapping[str, Any]:
        return {"inner": "encrypted"}

    @classmethod
    def inner_modules(cls, directory: str) -> Mapping[str, ModuleSpec]:
        return {"encrypted": encrypted("s3", keys_at(directory)), "s3": cls.service.spec()}


def test_what_matters_most(service: Service, tmp_path: Path) -> None:
    """A few rules of the suite, in the fast tests."""
    stacked = {"encrypted": encrypted("s3", keys_at(tmp_path)), "s3": service.spec()}
    reports = [
        check_module(S3, service.args(), rules=RULES, scale=QUICK),
        check_module(
            COMPRESSED, {"inner": "encrypted"}, inner=stacked, rules=RULES[1:4], scale=QUICK
        ),
    ]
    for report in reports:
        assert report.count("passed") == len(report.results), format_report(report)
