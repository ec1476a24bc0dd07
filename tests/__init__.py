"""The tests. For a vendor's old suite: ``from tests import StorageModuleTestBase``."""

from modules.legacy_tests import StorageModuleTestBase

__all__ = ["StorageModuleTestBase"]
