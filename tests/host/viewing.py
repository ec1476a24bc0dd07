"""What a bucket shows as files, and what it should."""

from __future__ import annotations

import os
from pathlib import Path

from tests.host.objectservice import Site, get
from zfsstore.host.catalog.records import Tenant
from zfsstore.host.namespace.records import Kind, Version
from zfsstore.published_names import beside_directory, container_path, object_path


def shown(view: Path) -> dict[str, bytes | None]:
    """Return what is in a view: files with contents, empty directories with None."""
    found: dict[str, bytes | None] = {}
    for where, directories, names in os.walk(view):
        here = os.path.relpath(where, view)
        if not directories and not names and here != ".":
            found[here] = None
        for name in names:
            found[os.path.normpath(f"{here}/{name}")] = Path(where, name).read_bytes()
    return found


def expected(site: Site, tenant: Tenant) -> dict[str, bytes | None]:
    """Return what the keys of the bucket "photos" should show."""
    listed = site.service.list_children(tenant, "photos", delimiter="", limit=10_000).items
    versions = [item for item in listed if isinstance(item, Version)]
    found: dict[str, bytes | None] = {}
    for version in versions:
        key = version.key
        is_full = any(v.key.startswith(key) and v.key != key for v in versions)
        if version.kind is Kind.CONTAINER:
            if not is_full:
                found["/".join(container_path(key) or ())] = None
            continue
        *above, name = object_path(key)
        if any(v.key.startswith(f"{key}/") for v in versions):
            name = beside_directory(key)
        found["/".join((*above, name))] = get(site, tenant, key)
    return found
