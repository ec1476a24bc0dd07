"""The original SDK's tests: a vendor's subclass from then runs on a module of today.

    from tests import StorageModuleTestBase

    class TestNewStorage(unittest.TestCase, StorageModuleTestBase):
        def setUp(self):
            StorageModuleTestBase.setUp(self, NewStorage("/tmp/new"), {})

        def compareWrittenData(self, module_data, data): ...
        def wasDeleted(self, module_data): ...

``modules.conformance`` tests the whole contract; write new tests with that.

Source: Mezeo Vendor Storage Module SDK, ``tests.StorageModuleTestBase``.
"""

from __future__ import annotations

import io
import secrets
import string
import unittest
from collections.abc import Mapping
from typing import Any, Final

from modules import StorageModule

_LETTERS: Final = (string.ascii_letters + string.digits).encode()
_AS_LETTERS: Final = bytes(_LETTERS[byte % len(_LETTERS)] for byte in range(256))


class Buffer(bytes):
    """Bytes that also equal the same letters as text.

    Under Python 2 a subclass could compare the buffer with a file opened in text mode.
    """

    def __eq__(self, other: object) -> bool:
        if isinstance(other, str):
            other = other.encode("utf-8", "surrogateescape")
        return bytes.__eq__(self, other) is True

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = bytes.__hash__


class _AddsTestCase(type):
    """Makes every subclass a ``unittest.TestCase``, in whatever order it names its bases.

    The base class itself is none, or every runner would collect it wherever it is imported.
    """

    def __new__(mcs, name: str, bases: tuple[type, ...], namespace: dict[str, Any]) -> type:
        if bases and not any(issubclass(base, unittest.TestCase) for base in bases):
            bases = (*bases, unittest.TestCase)
        return super().__new__(mcs, name, bases, namespace)


class StorageModuleTestBase(metaclass=_AddsTestCase):
    """Four tests; a subclass says how to look at what its module has written."""

    def setUp(self, connector: StorageModule, extra_context: Mapping[str, Any]) -> None:
        """Keep the module under test, and a context of nothing but *extra_context*."""
        self.connector = connector
        self.context: dict[str, Any] = dict(extra_context)

    def tearDown(self) -> None:
        """Do nothing; a subclass may call it."""

    def randomBuffer(self, length: int = 1) -> Buffer:
        """Return *length* random letters and digits."""
        return Buffer(secrets.token_bytes(length).translate(_AS_LETTERS))

    def compareWrittenData(self, module_data: str, data: bytes) -> bool:
        """Return True when the module has stored exactly *data*."""
        raise NotImplementedError("a subclass must define compareWrittenData(module_data, data)")

    def wasDeleted(self, module_data: str) -> bool:
        """Return True when nothing is left of the object."""
        raise NotImplementedError("a subclass must define wasDeleted(module_data)")

    def testDelete(self) -> None:
        """Data can be deleted."""
        module_data = self._put_and_compare(1024)[0]
        self.connector.delete(self.context, module_data)
        _require(self.wasDeleted(module_data), "the data is still there after delete")

    def testWrite(self) -> None:
        """1 MiB is written as it was given."""
        self._put_and_compare(1024 * 1024)

    def testWriteThenRead(self) -> None:
        """1 MiB is read back as it was written."""
        module_data, data = self._put_and_compare(1024 * 1024)
        stream = self.connector.get_read_stream(self.context, module_data)
        try:
            _require(stream.read() == data, "the data read is not the data written")
        finally:
            stream.close()

    def testStatistics(self) -> None:
        """Statistics hold capacity with total, free and used."""
        statistics = self.connector.statistics(self.context)
        _require("capacity" in statistics, "'capacity' was not found in the statistics")
        for key in ("total", "free", "used"):
            _require(key in statistics["capacity"], f"'{key}' was not found in the capacity")

    def _put_and_compare(self, length: int) -> tuple[str, Buffer]:
        data = self.randomBuffer(length)
        module_data = self.connector.put(self.context, io.BytesIO(data))
        _require(
            self.compareWrittenData(module_data, data), "the data stored is not the data written"
        )
        return module_data, data


def _require(condition: bool, reason: str) -> None:
    if not condition:
        raise AssertionError(reason)
