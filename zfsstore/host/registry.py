"""The configured storage modules of this process: one instance each, replaced when they change."""

from __future__ import annotations

import copy
import logging
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

from modules import StorageModule
from modules.errors import ConfigurationError, ModuleLoadError, StorageError
from modules.loader import check_entry, entry_digest, load_module
from zfsstore.host.catalog import Catalog, VendorModule
from zfsstore.host.errors import CodeChanged
from zfsstore.host.redaction import scrub

_log: Final = logging.getLogger(__name__)

RETRY_S: Final = 5.0
"""A module that could not be loaded (a service was away, say) is tried again after so long."""


@dataclass(frozen=True, slots=True)
class _Loaded:
    configured: VendorModule
    outcome: StorageModule | ModuleLoadError
    at: float = field(default_factory=time.monotonic)


class ModuleRegistry:
    """Gives the instance of a configured module, loading and replacing it as the catalog says.

    Every ``get`` costs one small read of the catalog's revision, so a change made by any process
    is seen by all with their next request. The instance that a change replaces stays alive for
    the requests that use it. A module that cannot be loaded raises on ``get`` and harms no other.

    Open it after a fork. Safe for many threads.

    Args:
        catalog: where the modules are configured.
        python_path: entries that every module may be imported from, after its own.
    """

    def __init__(self, catalog: Catalog, *, python_path: Sequence[str] = ()) -> None:
        self._catalog = catalog
        self._python_path = tuple(python_path)
        self._lock = threading.RLock()
        self._digests: dict[str, str] = {}  # python-path entry -> the code this process imported
        self._configured: Mapping[str, VendorModule] = MappingProxyType({})
        self._loaded: dict[str, _Loaded] = {}
        self._revision = -1

    def start(self) -> None:
        """Load every configured module, with whatever code its python-path entries hold.

        Called once by a server process before its first request; it records that code in the
        catalog. From then on, other code in the same entry is a conflict until a reload.
        """
        with self._lock:
            self._read_catalog(is_start=True)

    def get(self, name: str) -> StorageModule:
        """Return the instance of a configured module.

        Raises:
            ConfigurationError: none has this name.
            ModuleLoadError: it cannot be loaded; tried again every few seconds.
        """
        revision = self._catalog.revision()
        if revision != self._revision:
            with self._lock:
                if revision != self._revision:
                    self._read_catalog(is_start=False)
        configured = self._configured.get(name)
        if configured is None:
            raise ConfigurationError(
                "there is no vendor module of this name",
                operation="find module",
                subject=name,
                hint="configure it with `zfsstore module put` or fix the policy",
            )
        loaded = self._loaded.get(name)
        if loaded is None:
            with self._lock:
                loaded = self._loaded.get(name) or self._load(configured, is_start=False)
        if isinstance(loaded.outcome, ModuleLoadError):
            loaded = self._retry(name, loaded)
        if isinstance(loaded.outcome, ModuleLoadError):
            raise copy.copy(loaded.outcome)  # of its own for each thread: it gets a traceback
        return loaded.outcome

    def context(self, **extra: Any) -> dict[str, Any]:
        """Return the context of a call: ``func.getModule`` and *extra*."""
        return {"func": {"getModule": self.get}, **extra}

    def try_load(self, candidate: VendorModule) -> tuple[StorageModule, dict[str, str]]:
        """Return an instance of a module that is not configured yet, and the code it came from.

        Raises:
            ModuleLoadError: it cannot be loaded.
            CodeChanged: an entry of its python-path holds other code than the server runs.
        """
        with self._lock:
            if self._catalog.revision() != self._revision:
                self._read_catalog(is_start=False)
            recorded: dict[str, str] = {}
            for module in self._configured.values():
                recorded.update(module.code_digests)
            digests = self._accept_code(candidate, recorded=recorded)
            path = (*candidate.python_path, *self._python_path)
            return load_module(candidate.module, candidate.args, python_path=path), digests

    def adopt(self, configured: VendorModule, module: StorageModule) -> None:
        """Use *module* for *configured*, which the caller has just written to the catalog.

        Spares the instance that passed the health check from being made twice.
        """
        with self._lock:
            self._read_catalog(is_start=False, ready=_Loaded(configured, module))

    def _read_catalog(self, *, is_start: bool, ready: _Loaded | None = None) -> None:
        """Load what is new or different, forget what is gone, keep what is the same."""
        revision = self._catalog.revision()  # first: a change in between is seen next time
        configured = {module.name: module for module in self._catalog.list_modules()}
        for name, module in configured.items():
            is_ready = ready is not None and ready.configured.name == name
            present = ready if is_ready else self._loaded.get(name)
            if present is not None and _is_same(present.configured, module):
                self._loaded[name] = present
            else:
                self._load(module, is_start=is_start)
        for name in set(self._loaded) - set(configured):
            del self._loaded[name]
        self._configured = MappingProxyType(configured)
        self._revision = revision

    def _load(self, configured: VendorModule, *, is_start: bool) -> _Loaded:
        outcome: StorageModule | ModuleLoadError
        try:
            recorded = None if is_start else configured.code_digests
            digests = self._accept_code(configured, recorded=recorded)
            path = (*configured.python_path, *self._python_path)
            outcome = load_module(configured.module, configured.args, python_path=path)
            if is_start and digests != configured.code_digests:
                self._catalog.set_code_digests(configured.name, digests)
        except StorageError as error:
            # Without the cause: a vendor's text may quote a secret.
            reason = scrub(str(error), configured.args)
            _log.error("module %s is not usable: %s", configured.name, reason)
            outcome = ModuleLoadError(
                f"it is not usable: {reason}", operation="find module", subject=configured.name
            )
        loaded = self._loaded[configured.name] = _Loaded(configured, outcome)
        return loaded

    def _retry(self, name: str, failed: _Loaded) -> _Loaded:
        with self._lock:
            present = self._loaded.get(name, failed)
            if present is failed and time.monotonic() - failed.at > RETRY_S:
                return self._load(failed.configured, is_start=False)
            return present

    def _accept_code(
        self, module: VendorModule, *, recorded: Mapping[str, str] | None
    ) -> dict[str, str]:
        """Return the digest of each entry, proven to be the code this process runs or may run.

        Python imports a package once: what lies in an entry later would be ignored, or mixed.

        Args:
            recorded: the code the other processes run; None when it need not match.
        """
        digests = {}
        for entry in (*module.python_path, *self._python_path):
            path = check_entry(entry)
            digest = entry_digest(path)
            expected = self._digests.get(path) or (recorded or {}).get(path, digest)
            if digest != expected:
                raise CodeChanged(
                    f"the code in {path} changed since this server loaded it",
                    operation="load module",
                    subject=module.name,
                    hint="reload workers: zfsstore reload",
                )
            digests[path] = digest
        self._digests.update(digests)
        return digests


def _is_same(one: VendorModule, other: VendorModule) -> bool:
    """Tell whether two configurations give the same instance; the label makes no difference."""
    return (one.module, one.args, one.python_path) == (other.module, other.args, other.python_path)
