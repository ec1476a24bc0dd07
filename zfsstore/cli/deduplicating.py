"""A deduplicating module as the commands see it: its volumes, each with an index of its own."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from modules.errors import InvalidArgument, NotSupported, VolumeNotFound
from modules.extensions import SupportsBinding, SupportsSweep, SupportsVolumes
from zfsstore.cli.buckets import each_bucket

if TYPE_CHECKING:
    from modules.context import Context
    from modules.wrappers.dedup import DedupStorage
    from zfsstore.cli.parsers import Parser
    from zfsstore.host.services import Services

ALL: Final = "(all)"
"""How the one index of a module without volumes is shown."""


@dataclass(frozen=True, slots=True)
class Deduplicated:
    """One index."""

    path: str
    module: DedupStorage
    context: Context
    opened: Services
    module_name: str

    def objects(self) -> list[str]:
        """Return the module_data of all objects that clients have where this index is."""
        found: list[str] = []
        for tenant in self.opened.administration.list_tenants():
            if tenant.policy != self.module_name:
                continue
            for bucket in each_bucket(self.opened, tenant):
                if self.path in (ALL, f"{tenant.name}/{bucket.name}"):
                    found += self.opened.objects.stored(tenant, bucket.name, self.module_name)
        return found

    def packs(self, snapshots: list[str]) -> list[str]:
        """Return the packs by all who know some: the index, snapshots of it, the inner module.

        Raises:
            StorageError: there is no such snapshot.
        """
        found = dict.fromkeys(self.module.known_packs(self.context))
        for snapshot in snapshots:
            context = {**self.context, "snapshot": snapshot}
            found |= dict.fromkeys(self.module.known_packs(context))
        inner = self.module.inner(self.context)
        if isinstance(inner, SupportsSweep) and not isinstance(inner, SupportsBinding):
            report = inner.sweep(self.context, (), older_than=timedelta(0))
            found |= dict.fromkeys(report.unreferenced)
        return list(found)


def chosen(opened: Services, name: str, volume: str | None) -> list[Deduplicated]:
    """Return the indexes of the module configured as *name*, by volume.

    Args:
        volume: as in acme (all its buckets) or acme/photos; None for all.

    Raises:
        NotSupported: it does not deduplicate.
        VolumeNotFound: there is no such volume.
        InvalidArgument: the module keeps no volumes.
    """
    from zfsstore.host.blobs import call_context

    module = _module(opened, name)
    if not isinstance(module, SupportsVolumes):
        if volume is not None:
            raise InvalidArgument(
                "it keeps no volumes, but one store for all",
                operation="choose volume of",
                subject=name,
                hint="leave VOLUME out",
            )
        paths = [ALL]
    else:
        tenants = {t.name for t in opened.administration.list_tenants() if t.policy == name}
        volumes = (row["name"] for row in module.volumes.list_volumes())
        names = sorted(path for path in volumes if path.partition("/")[0] in tenants)
        paths = [path for path in names if "/" in path and _is_chosen(path, volume)]
        if volume is not None and not paths and volume not in names:
            raise VolumeNotFound(
                "there is none in this module", operation="choose volume", subject=volume
            )
    make = opened.registry.context
    return [
        Deduplicated(path, module, call_context(module, make, path), opened, name) for path in paths
    ]


def add_target(parser: Parser, *, text: str = "as in acme or acme/photos; default: all") -> None:
    """Add MODULE and VOLUME."""
    parser.add_argument("module", metavar="MODULE", help="a deduplicating module, by its name")
    parser.add_argument("volume", metavar="VOLUME", nargs="?", help=text)


def _module(opened: Services, name: str) -> DedupStorage:
    module = opened.registry.get(name)
    try:
        from modules.wrappers.dedup import DedupStorage
    except ImportError:  # what is not installed cannot be configured
        pass
    else:
        if isinstance(module, DedupStorage):
            return module
    raise NotSupported(
        "it does not deduplicate",
        capability="deduplication",
        operation="open index of module",
        subject=name,
        hint="name a module of class modules.wrappers.dedup.DedupStorage",
    )


def _is_chosen(path: str, volume: str | None) -> bool:
    return volume is None or path == volume or path.startswith(f"{volume}/")
