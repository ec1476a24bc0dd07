"""Which objects are live: the host's part of a sweep. The module looks for the others."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from dataclasses import replace
from datetime import timedelta

from modules.errors import ConfigurationError, Conflict, NotSupported, StorageError, Unavailable
from modules.extensions import SupportsStateDir, SupportsSweep, SupportsVolumes, SweepReport
from modules.fences import Hold
from zfsstore.host.adopting_lock import no_adoption
from zfsstore.host.blobs import MakeContext, Modules, call_context
from zfsstore.host.namespace.index import Index
from zfsstore.host.namespace.indexes import Indexes
from zfsstore.host.opening import OpenBucket


def sweep_bucket(
    opened: OpenBucket,
    *,
    indexes: Indexes,
    modules: Modules,
    context: MakeContext,
    older_than: timedelta,
    dry_run: bool,
) -> SweepReport:
    """Sweep a bucket's volume, or the whole store of a module that has no volumes.

    Raises:
        NotSupported: the module cannot be swept.
        Unavailable: a module whose objects lie there is not loaded.
        Conflict: objects of another module lie there too, so nobody knows what is live.
        Busy: somebody waits to be alone in the volume, or files are being adopted.
    """
    module = opened.module
    if not isinstance(module, SupportsSweep):
        raise NotSupported(
            "it has no sweep", capability="sweep", operation="sweep", subject=opened.module_name
        )
    if isinstance(module, SupportsVolumes) and isinstance(module, SupportsStateDir):
        _check_modules(opened, opened.index, modules)
        swept = [opened.index]
    else:
        swept = [index for _, index in indexes.shared_buckets()]
    name = opened.module_name
    live = _while_undisturbed(
        (data for index in swept for data in index.live_module_data(name)), opened.hold
    )
    about = call_context(module, context, opened.path)
    with no_adoption(module, about) if not dry_run else nullcontext():
        report = module.sweep(about, live, older_than=older_than, dry_run=dry_run)
    return _without_deleted(report, (d for index in swept for d in index.needed_module_data(name)))


def _while_undisturbed(live: Iterable[str], hold: Hold | None) -> Iterator[str]:
    """Yield what is live; give up when somebody waits to be alone in the volume."""
    for module_data in live:
        if hold is not None:
            hold.check()
        yield module_data


def _check_modules(opened: OpenBucket, index: Index, modules: Modules) -> None:
    for name in index.modules():
        try:
            modules(name)
        except (ConfigurationError, StorageError) as error:
            raise Unavailable(
                f"it holds objects of module {name}, which is not loaded: {error}",
                operation="sweep",
                subject=opened.path,
                hint=f"configure {name} again first",
            ) from error
        if name != opened.module_name:
            raise Conflict(
                f"it holds objects of module {name} beside those of {opened.module_name}",
                operation="sweep",
                subject=opened.path,
                hint="one module cannot tell what the other needs",
            )


def _without_deleted(report: SweepReport, needed: Iterable[str]) -> SweepReport:
    """Return the report, with *missing* only what is still *needed*.

    What was deleted during the sweep, or whose deletion a crash cut off before it was forgotten,
    was live when the sweep began, and its data is rightly gone.
    """
    if not report.missing:
        return report
    missing = set(report.missing)
    return replace(report, missing=tuple(sorted(missing.intersection(needed))))
