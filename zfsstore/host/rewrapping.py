"""Giving up older keys: objects' keys are wrapped anew, and the index keeps the new module_data.

Nothing that is stored changes (modules.extensions.SupportsRewrap), so readers and writers go on. An
object that is deleted or replaced meanwhile is left alone. Cut off, the next call does the rest.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from modules.errors import Busy, ConfigurationError, NotSupported, StorageError
from modules.extensions import SupportsRewrap
from zfsstore.host.blobs import MakeContext, Modules, call_context
from zfsstore.host.catalog.records import Tenant
from zfsstore.host.opening import BucketOpener

_BATCH: Final = 256
MAX_FAILURES: Final = 1000

Progress = Callable[[int], None]


@dataclass(slots=True)
class RewrapReport:
    """What a pass over a bucket did.

    Attributes:
        seen: how many stored objects were looked at; what modules keep for themselves counts.
        rewrapped: how many of these got a new module_data.
        failed: how many still need an older key, because they cannot be opened.
        failures: of the first thousand, why.
    """

    seen: int = 0
    rewrapped: int = 0
    failed: int = 0
    failures: list[str] = field(default_factory=list)

    def fail(self, subject: str, error: StorageError | ConfigurationError) -> None:
        """Note an object that stays as it is."""
        self.failed += 1
        if len(self.failures) < MAX_FAILURES:
            self.failures.append(f"{subject}: {error}")


class Rewrapping:
    """Gives up older keys, bucket by bucket.

    Args:
        opener, modules, context: the object service's.
    """

    def __init__(self, opener: BucketOpener, modules: Modules, context: MakeContext) -> None:
        self._opener = opener
        self._modules = modules
        self._context = context

    def rewrap(
        self, tenant: Tenant, bucket: str, *, progress: Progress = lambda count: None
    ) -> RewrapReport:
        """Make every object of a bucket readable with its newest key alone, as far as possible.

        Args:
            progress: called with the number of objects that were looked at since the last call.

        Raises:
            VolumeNotFound: there is no such bucket.
            NotSupported: its module has no such keys.
            Busy: the volume is to be let go; what is done stays done.
        """
        report = RewrapReport()
        self._rewrap_kept(tenant, bucket, report, progress)
        last: int | None = 0
        while last is not None:
            last = self._rewrap_batch(tenant, bucket, last, report, progress)
        return report

    def _rewrap_kept(
        self, tenant: Tenant, bucket: str, report: RewrapReport, progress: Progress
    ) -> None:
        """Rewrap what the bucket's module keeps for itself, such as packs of chunks."""
        with self._opener.open(tenant, bucket) as opened:
            module = opened.module
            if not isinstance(module, SupportsRewrap):
                raise NotSupported(
                    "it does not encrypt, or cannot wrap keys anew",
                    capability="rewrap",
                    operation="rewrap keys of",
                    subject=f"{opened.path} in module {opened.module_name}",
                )
            context = call_context(module, self._context, opened.path)
            try:
                for is_changed in module.rewrap_kept(context):
                    report.seen += 1
                    report.rewrapped += is_changed
                    progress(1)
            except Busy:
                raise
            except StorageError as error:
                report.fail(f"what {opened.module_name} keeps", error)

    def _rewrap_batch(
        self, tenant: Tenant, bucket: str, after: int, report: RewrapReport, progress: Progress
    ) -> int | None:
        """Rewrap the next objects; return the last one's number, None at the end."""
        with self._opener.open(tenant, bucket) as opened:
            rows = opened.index.blobs(after, _BATCH)
            changes = []
            for number, module_name, module_data in rows:
                if opened.hold is not None:
                    opened.hold.check()
                try:
                    new = self._rewrapped(opened.path, module_name, module_data)
                except Busy:
                    raise
                except (StorageError, ConfigurationError) as error:
                    report.fail(module_data, error)
                    continue
                if new != module_data:
                    changes.append((number, module_data, new))
            if changes:
                report.rewrapped += len(changes) - opened.index.rewrap(changes)
        report.seen += len(rows)
        progress(len(rows))
        return rows[-1][0] if rows else None

    def _rewrapped(self, path: str, module_name: str, module_data: str) -> str:
        module = self._modules(module_name)
        if not isinstance(module, SupportsRewrap):
            return module_data
        return module.rewrap(call_context(module, self._context, path), module_data)
