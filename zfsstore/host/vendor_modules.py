"""Administration of vendor modules: loaded, made and checked before they are accepted."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, TypedDict

from modules import StorageModule
from modules.errors import StorageError
from zfsstore.host.catalog import Catalog, VendorModule, inner_names
from zfsstore.host.errors import CodeChanged, ModuleRejected
from zfsstore.host.health import check_health
from zfsstore.host.redaction import redact, scrub
from zfsstore.host.registry import ModuleRegistry
from zfsstore.host.specs import ModuleSpec, check_name


class ModuleDescription(TypedDict):
    """A vendor module as anybody may see it: no secrets."""

    name: str
    module: str
    label: str
    args: dict[str, Any]
    python_path: list[str]


@dataclass(frozen=True)
class ModuleAdministration:
    """The operations on vendor modules."""

    catalog: Catalog
    registry: ModuleRegistry

    def put_module(self, name: str, spec: object) -> bool:
        """Configure a vendor module: load it, make it, check it, and only then accept it.

        Args:
            spec: ``{"module": ..., "label": ..., "args": {...}, "python_path": [...]}``, as JSON.

        Returns:
            True when there was none of this name.

        Raises:
            InvalidArgument: a member of *spec* is wrong (``field`` names it), or, as
                ModuleRejected, the module cannot be loaded or is not healthy.
            CodeChanged: its code changed since this process loaded it.
        """
        parsed = ModuleSpec.from_dict(spec)
        candidate = VendorModule(
            name=check_name(name, "vendor module"),
            module=parsed.module,
            label=parsed.label,
            args=parsed.args,
            python_path=parsed.python_path,
        )
        self._refuse_cycle(candidate)
        try:
            module, digests = self.registry.try_load(candidate)
            check_health(name, module, self.registry.context())
            self.prepare_module(name, module)
        except CodeChanged:
            raise
        except StorageError as error:
            hint = error.hint or ""
            raise ModuleRejected(
                scrub(str(error).removesuffix(f"; {hint}"), candidate.args),
                operation="configure vendor module",
                subject=name,
                hint=scrub(hint, candidate.args) or None,
                field=getattr(error, "field", None),
            ) from None  # the cause may quote a secret
        accepted = replace(candidate, code_digests=digests)
        is_new = all(other.name != name for other in self.catalog.list_modules())
        self.catalog.set_module(accepted)
        self.registry.adopt(accepted, module)
        return is_new

    def get_module(self, name: str) -> ModuleDescription:
        """Return a vendor module, its secrets redacted.

        Raises:
            NotFound: there is none of this name.
        """
        return _describe(self.catalog.get_module(name))

    def list_modules(self) -> list[ModuleDescription]:
        """Return all vendor modules by name, their secrets redacted."""
        return [_describe(module) for module in self.catalog.list_modules()]

    def delete_module(self, name: str) -> None:
        """Remove a vendor module; what it stored stays where it is.

        Raises:
            NotFound: there is none of this name.
            HasDependents: a tenant or another module uses it.
        """
        self.catalog.delete_module(name)

    def prepare_module(self, name: str, module: StorageModule) -> None:
        """Make *module* ready to be the one called *name*, before it is."""

    def _refuse_cycle(self, candidate: VendorModule) -> None:
        args = {module.name: module.args for module in self.catalog.list_modules()}
        args[candidate.name] = candidate.args
        seen: set[str] = set()
        pending = inner_names(candidate.args)
        while pending:
            name = pending.pop()
            if name == candidate.name:
                raise ModuleRejected(
                    "it would wrap itself",
                    operation="configure vendor module",
                    subject=name,
                    field="args",
                )
            if name not in seen and name in args:
                seen.add(name)
                pending |= inner_names(args[name])


def _describe(module: VendorModule) -> ModuleDescription:
    return {
        "name": module.name,
        "module": module.module,
        "label": module.label,
        "args": redact(dict(module.args)),
        "python_path": list(module.python_path),
    }
