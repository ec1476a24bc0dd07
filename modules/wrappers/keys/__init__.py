"""Keys of tenants, wrapped by a root key: the table, the providers of root keys, the key ring."""

from __future__ import annotations

from modules.wrappers.keys.config import open_key_ring
from modules.wrappers.keys.records import KeyRecord, RootKeys, TenantKey
from modules.wrappers.keys.ring import KeyRing

__all__ = ["KeyRecord", "KeyRing", "RootKeys", "TenantKey", "open_key_ring"]
