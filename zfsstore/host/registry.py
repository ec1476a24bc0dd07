"""The configured storage modules of this process: one instance each, replaced when they change."""

from __future__ import annotations

import copy
import logging
import math
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

from modules import StorageModule
from modules.errors import ConfigurationError, ModuleLoadError, StorageError, Unavailable
from modules.loader import bind_module, load_module
from zfsstore.host.catalog import Catalog, VendorModule, inner_names
from zfsstore.host.code import code_digests
from zfsstore.host.errors import CodeChanged
from zfsstore.host.redaction import scrub

_log: Final = logging.getLogger(__name__)

RETRY_S: Final = 5.0
"""A module that could not be loaded (a service was away, say) is tried again after so long."""

FOLLOW_S: Final = 1.0
"""Who asks for modules outside of requests (upkeep, a sweep) sees a change after so long."""


@dataclass(frozen=True, slots=True)
class _Loaded:
    configured: VendorModule
    outcome: StorageModule | StorageError
    at: float = field(default_factory=time.monotonic)


class ModuleRegistry:
    """Gives the instance of a configured module, loading and replacing it as the catalog says.

    Each request starts with ``follow``, one small read, so a change made by any process is seen
    by all with their next request; what else runs sees it within a second. The instance that a
    change replaces stays alive for the requests that use it. A wrapper is bound to its inner
    module, and is replaced with it. A module that cannot be loaded raises on ``get`` and harms
    no other but the wrappers around it.

    Open it after a fork. Safe for many threads.

    Args:
        catalog: where the modules are configured.
        python_path: entries that every module may be imported from, after its own.
        is_code_recorded: the code that the catalog records is what workers run, so no other may
            be loaded; False when there are no workers.
    """

    def __init__(
        self, catalog: Catalog, *, python_path: Sequence[str] = (), is_code_recorded: bool = True
    ) -> None:
        self._catalog = catalog
        self._python_path = tuple(python_path)
        self._is_code_recorded = is_code_recorded
        self._lock = threading.RLock()
        self._imported: dict[str, str] = {}  # python-path entry -> digest of its code
        self._configured: Mapping[str, VendorModule] = MappingProxyType({})
        self._loaded: dict[str, _Loaded] = {}
        self._loading: list[str] = []  # those below are inner modules of those above
        self._revision = -1
        self._followed_at = -math.inf

    def follow(self) -> int:
        """Take over what changed in the catalog; return its revision."""
        revision = self._catalog.revision()
        if revision != self._revision:
            with self._lock:
                if revision != self._revision:
                    self._read_catalog()
        self._followed_at = time.monotonic()
        return revision

    def load_all(self) -> None:
        """Load every configured module, so that the first requests need not; log what fails."""
        self.follow()
        with self._lock:
            for name in self._configured:
                self._current(name)

    def get(self, name: str) -> StorageModule:
        """Return the instance of a configured module.

        Raises:
            ConfigurationError: none has this name.
            ModuleLoadError: it cannot be loaded; tried again every few seconds.
            Unavailable: its code changed since the workers started.
        """
        if name not in self._configured or time.monotonic() - self._followed_at > FOLLOW_S:
            self.follow()
        loaded = self._loaded.get(name)
        if loaded is None or isinstance(loaded.outcome, StorageError):
            with self._lock:
                loaded = self._current(name)
        if isinstance(loaded.outcome, StorageError):
            raise copy.copy(loaded.outcome)  # of its own for each thread: it gets a traceback
        return loaded.outcome

    def context(self, **extra: Any) -> dict[str, Any]:
        """Return the context of a call: ``func.getModule`` and *extra*."""
        return {"func": {"getModule": self.get}, **extra}

    def try_load(self, candidate: VendorModule) -> tuple[StorageModule, dict[str, str]]:
        """Return an instance of a module that is not configured yet, and the code it came from.

        Raises:
            ModuleLoadError: it cannot be loaded.
            CodeChanged: an entry of its python-path holds other code than the workers run.
        """
        with self._lock:
            self._read_catalog()
            digests = self._accept_code(candidate)
            return self._instantiate(candidate), digests

    def adopt(self, configured: VendorModule, module: StorageModule) -> None:
        """Use *module* for *configured*, which the caller has just written to the catalog.

        Spares the instance that passed the health check from being made twice.
        """
        with self._lock:
            self._read_catalog()
            present = self._configured.get(configured.name)
            if present is not None and _is_same(present, configured):
                self._loaded[configured.name] = _Loaded(configured, module)

    def _read_catalog(self) -> None:
        """Forget the instances of what is gone or different; the next ``get`` makes them anew."""
        revision = self._catalog.revision()  # first: a change in between is seen next time
        configured = {module.name: module for module in self._catalog.list_modules()}
        stale = {
            name
            for name, loaded in self._loaded.items()
            if name not in configured or not _is_same(loaded.configured, configured[name])
        }
        while stale:  # and the wrappers around them, which are bound to the old instances
            for name in stale:
                del self._loaded[name]
            stale = {
                name
                for name, loaded in self._loaded.items()
                if not stale.isdisjoint(inner_names(loaded.configured.args))
            }
        self._configured = MappingProxyType(configured)
        self._revision = revision

    def _current(self, name: str) -> _Loaded:
        """Return what is loaded under *name*, loading it when that is due; needs the lock."""
        configured = self._configured.get(name)
        if configured is None:
            raise ConfigurationError(
                "there is no vendor module of this name",
                operation="find module",
                subject=name,
                hint="configure it with `zfsstore module put` or fix the policy",
            )
        present = self._loaded.get(name)
        if present is not None:
            is_recent = time.monotonic() - present.at <= RETRY_S
            if is_recent or not isinstance(present.outcome, StorageError):
                return present
        if name in self._loading:
            raise ConfigurationError(
                f"it wraps itself: {' -> '.join([*self._loading, name])}",
                operation="find module",
                subject=name,
                hint="name another module in `inner`",
                field="inner",
            )
        self._loading.append(name)
        try:
            loaded = self._loaded[name] = _Loaded(configured, self._load(configured))
        finally:
            self._loading.pop()
        return loaded

    def _load(self, configured: VendorModule) -> StorageModule | StorageError:
        name = configured.name
        try:
            self._accept_code(configured)
            return self._instantiate(configured)
        except CodeChanged as error:
            _log.error("module %s is not usable: %s", name, error)
            return Unavailable(  # every user may read this: the path is in the log
                "its code changed since the workers started",
                operation="find module",
                subject=name,
                hint=error.hint,
            )
        except StorageError as error:
            # Without the cause: a vendor's text may quote a secret.
            reason = scrub(str(error), configured.args)
            _log.error("module %s is not usable: %s", name, reason)
            return ModuleLoadError(
                f"it is not usable: {reason}", operation="find module", subject=name
            )

    def _instantiate(self, module: VendorModule) -> StorageModule:
        path = (*module.python_path, *self._python_path)
        made = load_module(module.module, module.args, python_path=path)
        return bind_module(module.module, made, self.get)

    def _accept_code(self, module: VendorModule) -> dict[str, str]:
        """Return the digest of each entry, proven to be the code this process runs or may run.

        Raises:
            CodeChanged: an entry holds other code.
        """
        running: dict[str, str] = {}
        if self._is_code_recorded:
            for configured in self._configured.values():
                running |= configured.code_digests
        running |= self._imported
        digests = code_digests((*module.python_path, *self._python_path))
        for path, digest in digests.items():
            if digest != running.get(path, digest):
                raise CodeChanged(
                    f"the code in {path} changed since the workers started",
                    operation="load module",
                    subject=module.name,
                    hint="reload the workers: zfsstore reload",
                )
        self._imported |= digests
        return digests


def _is_same(one: VendorModule, other: VendorModule) -> bool:
    """Tell whether two configurations give the same instance; the label makes no difference."""
    return (one.module, one.args, one.python_path) == (other.module, other.args, other.python_path)
