"""Administration: what an administrator may do. HTTP and the command line both call this."""

from __future__ import annotations

from dataclasses import dataclass

from modules import StorageModule
from zfsstore.host.accounts import AccountAdministration
from zfsstore.host.vendor_modules import ModuleAdministration, ModuleDescription

__all__ = ["Administration", "ModuleDescription"]


@dataclass(frozen=True)
class Administration(AccountAdministration, ModuleAdministration):
    """The operations of an administrator. Everything is checked before anything is changed."""

    def prepare_module(self, name: str, module: StorageModule) -> None:
        """Create the volumes of the tenants whose policy is *name*: a new *module* has none."""
        self.create_missing_volumes(name, module)
