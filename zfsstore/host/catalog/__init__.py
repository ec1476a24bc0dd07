"""What exists: vendor modules, tenants, users, key-values. One database for all hosts."""

from zfsstore.host.catalog.database import Catalog
from zfsstore.host.catalog.records import Role, Tenant, User, VendorModule, inner_names

__all__ = ["Catalog", "Role", "Tenant", "User", "VendorModule", "inner_names"]
