"""What every wrapper shares: finding the inner module, and passing on what that offers.

    class Shouting(Wrapper):
        def put(self, context, stream):
            return self.inner(context).put(self.inner_context(context), Upper(stream))

A wrapper's module_data ends in that of the inner module, as a rule. Then ``_inner_data`` is all
that ``available``, ``delete``, ``sweep`` and ``rewrap`` need. Who has no such pairs
(deduplication) overrides these four.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import timedelta
from typing import Any, Final

from modules import StorageModule
from modules.context import Context, get_module, text
from modules.errors import ConfigurationError, InvalidArgument, InvalidModuleData
from modules.extensions import (
    SupportsFence,
    SupportsRewrap,
    SupportsStateDir,
    SupportsSweep,
    SupportsUpkeep,
    SupportsVolumeIdentity,
    SupportsVolumes,
    SweepReport,
    VolumeIdentity,
)

DEFAULT_DOMAIN: Final = "default"
"""The key_domain where neither the context nor the inner module knows one."""

_MAX_DOMAIN_BYTES: Final = 1024


class Wrapper(StorageModule):
    """A storage module around another one, which is configured by itself.

    Whoever makes an instance calls :meth:`bind` once, before any other call; from then on the
    instance has ``volumes``, ``state_dir``, ``fence``, ``identity``, ``needs_volume_identity``,
    ``sweep``, ``upkeep`` and ``rewrap`` when the inner module has them. When that is replaced, the
    wrapper is made anew. Under a host that does not bind, the inner module is looked up through
    the context with each call, and none of the optional contracts is offered.

    Args:
        inner: the name of the configured module that this one stores through.
        key_domain: what to bind to where neither the context nor the inner module knows the
            volume's.
    """

    binds_to_domain: bool = False
    """True for a class that needs ``key_domain``: the host then looks it up for each call."""

    def __init__(self, *, inner: str, key_domain: str = DEFAULT_DOMAIN) -> None:
        if not isinstance(inner, str) or not inner:
            raise ConfigurationError("must be the name of a configured module", field="inner")
        self._inner_name = inner
        self._default_domain = check_domain(key_domain, ConfigurationError, field="key_domain")
        self._bound: StorageModule | None = None
        self._identity: Callable[[Context], VolumeIdentity] | None = None

    def bind(self, get_module: Callable[[str], StorageModule]) -> None:
        """Look the inner module up and take over what it offers; see modules.extensions.Binds.

        Raises:
            modules.errors.ConfigurationError: there is no such module, or it wraps this one.
            modules.errors.ModuleLoadError: it is not usable.
        """
        inner = get_module(self._inner_name)
        self._bound = inner
        self._identity = _identity_of(inner)  # once: isinstance with a protocol takes 10 us
        for name, value in self.offers(inner).items():
            setattr(self, name, value)

    def offers(self, inner: StorageModule) -> dict[str, Any]:
        """Return the optional contracts that hold around *inner*: attributes and their values.

        An attribute that is not there is not offered: ``isinstance`` with the protocols of
        modules.extensions tells the truth. Not passed on: ``copy`` and ``compose`` (they know
        nothing of the format) and ``publish`` (it would show what only the wrapper can read).
        """
        found: dict[str, Any] = {}
        if isinstance(inner, SupportsVolumes):
            found["volumes"] = inner.volumes
        if isinstance(inner, SupportsStateDir):
            found["state_dir"] = inner.state_dir
        if isinstance(inner, SupportsFence):
            found["fence"] = inner.fence
        if isinstance(inner, SupportsVolumeIdentity):
            found["identity"] = inner.identity
            needs = bool(getattr(inner, "needs_volume_identity", False))
            found["needs_volume_identity"] = self.binds_to_domain or needs
        if isinstance(inner, SupportsSweep):
            found["sweep"] = self._sweep
        if isinstance(inner, SupportsUpkeep):
            found["upkeep"] = inner.upkeep
        if isinstance(inner, SupportsRewrap):
            found["rewrap"], found["rewrap_kept"] = self._rewrap, inner.rewrap_kept
        return found

    def inner(self, context: Context) -> StorageModule:
        """Return the inner module.

        Raises:
            modules.errors.ConfigurationError: this host neither binds nor offers getModule.
        """
        return get_module(context, self._inner_name) if self._bound is None else self._bound

    def inner_context(self, context: Context, *, content_length: int | None = None) -> Context:
        """Return the context for the inner module's put: our bytes have a length of their own.

        Args:
            content_length: how many bytes the inner put will be given; None when unknown.
        """
        changed = {key: value for key, value in context.items() if key != "content_length"}
        if content_length is not None:
            changed["content_length"] = content_length
        return changed

    def key_domain(self, context: Context) -> str:
        """Return the lasting id of the context's volume, the same after rename, clone, rollback.

        Raises:
            modules.errors.VolumeNotFound, modules.errors.Unavailable: it cannot be known.
            modules.errors.InvalidArgument: the context's is no usable text.
        """
        given = text(context, "key_domain")
        if given is not None:
            return check_domain(given, InvalidArgument, field="context.key_domain")
        identity = self._identity
        if self._bound is None:
            identity = _identity_of(self.inner(context))
        return self._default_domain if identity is None else identity(context).key_domain

    def available(self, context: Context, module_data: str) -> bool:
        """Return True when the inner module has the object's bytes."""
        try:
            inner_data = self._inner_data(module_data)
        except InvalidModuleData:
            return False
        return self.inner(context).available(context, inner_data)

    def delete(self, context: Context, module_data: str) -> None:
        """Remove the object from the inner module."""
        self.inner(context).delete(context, self._inner_data(module_data))

    def statistics(self, context: Context) -> dict[str, Any]:
        """Return the inner module's statistics."""
        return self.inner(context).statistics(context)

    def capabilities(self, context: Context) -> Mapping[str, Any]:
        """Return the inner module's capabilities."""
        return self.inner(context).capabilities(context)

    def _inner_data(self, module_data: str) -> str:
        """Return the inner module_data inside ours.

        Raises:
            InvalidModuleData: this module cannot have returned it.
        """
        raise NotImplementedError

    def _rewrap(self, context: Context, module_data: str) -> str:
        """Return the module_data around that of an inner object whose key is wrapped anew."""
        inner = self.inner(context)
        assert isinstance(inner, SupportsRewrap)
        inner_data = self._inner_data(module_data)
        changed = inner.rewrap(context, inner_data)
        return module_data.removesuffix(inner_data) + changed

    def _sweep(
        self, context: Context, live: Iterable[str], *, older_than: timedelta, dry_run: bool = True
    ) -> SweepReport:
        """Sweep the inner module with the inner live set.

        ``unreferenced`` names what the inner module found, by its own module_data: ours is
        not known of an object that nobody refers to. ``missing`` names ours.
        """
        inner = self.inner(context)
        assert isinstance(inner, SupportsSweep)
        ours: dict[str, list[str]] = {}

        def inner_live() -> Iterator[str]:
            for module_data in live:
                inner_data = self._inner_data(module_data)
                ours.setdefault(inner_data, []).append(module_data)
                yield inner_data

        report = inner.sweep(context, inner_live(), older_than=older_than, dry_run=dry_run)
        missing = (ours.get(inner_data, [inner_data]) for inner_data in report.missing)
        return SweepReport(
            scanned=report.scanned,
            unreferenced=report.unreferenced,
            unreferenced_bytes=report.unreferenced_bytes,
            quarantined=report.quarantined,
            too_young=report.too_young,
            missing=tuple(sorted(name for names in missing for name in names)),
        )


def _identity_of(module: StorageModule) -> Callable[[Context], VolumeIdentity] | None:
    return module.identity if isinstance(module, SupportsVolumeIdentity) else None


def check_domain(
    value: object, error: type[ConfigurationError] | type[InvalidArgument], *, field: str
) -> str:
    """Return *value*, proven to be a key_domain: text of at least one byte that is not huge."""
    if isinstance(value, str):
        size = len(value.encode("utf-8", "surrogatepass"))
        if 0 < size <= _MAX_DOMAIN_BYTES and value.isprintable():
            return value
    raise error(f"must be text of 1 to {_MAX_DOMAIN_BYTES} printable bytes", field=field)
